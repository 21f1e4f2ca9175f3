"""Small JSON files that can be made again: a broken one is empty, and one that cannot be written costs nothing else."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

from launchdeck.settings.files import replace_text

logger = logging.getLogger(__name__)


def read_json(file: Path) -> dict[str, Any]:
    """The object in this file."""
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        logger.warning("%s cannot be read (%s): it is made anew", file, error)
        return {}
    return document if isinstance(document, dict) else {}


def write_json(file: Path, document: dict[str, Any]) -> None:
    """Replace the file as a whole."""
    try:
        replace_text(file, json.dumps(document))
    except OSError as error:
        logger.warning("%s cannot be written (%s): what stands in it is found out again", file, error)
