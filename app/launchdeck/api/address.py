"""Where the running application can be reached: two files in the runtime folder, and a path that is open to all."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Final

from launchdeck.files.looking import real
from launchdeck.files.reading import read_bytes
from launchdeck.files.removal import remove_file

if TYPE_CHECKING:
    from launchdeck.settings.paths import Paths

logger = logging.getLogger(__name__)

OPEN_PATH: Final = "/ping"
OWN_HAND_LOAD: Final = "/1/load"
"""What can be asked at the socket for the user's own hand."""
_OWN_HAND_NAME: Final = "own-hand"  # no longer than a supervisor's socket: `Paths.sockets` has room for that


def token_file(paths: Paths) -> Path:
    """Holds the token of this start; only its user can read it."""
    return paths.runtime / "api-token"


def url_file(paths: Paths) -> Path:
    """Holds the address, written after the token."""
    return paths.runtime / "api-url"


def own_hand_socket(paths: Paths) -> Path:
    """Where the user's own hand may ask for more than HTTP may."""
    return paths.sockets / _OWN_HAND_NAME


def take_back_address(paths: Paths, url: str | None = None) -> None:
    """Have nobody find the application there any more; `url`: only where this is its address, for another application
    may have been started meanwhile and have put its own there.
    """
    try:
        if url is None or read_bytes(url_file(paths)) == url.encode():
            for file in (url_file(paths), token_file(paths)):
                remove_file(real(file.parent), file.name)
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:
        logger.warning("The address in %s could not be taken back: %s", url_file(paths), error)
