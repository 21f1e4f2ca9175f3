"""Small JSON files that can be made again: a broken one is empty, and one that cannot be written costs nothing else."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

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
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        half = file.with_suffix(".new")
        half.write_text(json.dumps(document), encoding="utf-8")
        half.replace(file)
    except OSError as error:
        logger.warning("%s cannot be written (%s): what stands in it is found out again", file, error)
