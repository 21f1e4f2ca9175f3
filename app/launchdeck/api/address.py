"""Where the running application can be reached: two files in the runtime folder, and a path that is open to all."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from launchdeck.settings.paths import Paths


OPEN_PATH: Final = "/ping"


def token_file(paths: Paths) -> Path:
    """Holds the token of this start; only its user can read it."""
    return paths.runtime / "api-token"


def url_file(paths: Paths) -> Path:
    """Holds the address, written after the token."""
    return paths.runtime / "api-url"
