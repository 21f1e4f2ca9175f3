"""Broken files are kept: out of the way, under a name that says what they are."""

from __future__ import annotations

import errno
import logging
import os
import re
from typing import TYPE_CHECKING, Final

from launchdeck.files.reading import read_bytes
from launchdeck.files.replacing import replacing

if TYPE_CHECKING:
    from pathlib import Path

logger = logging.getLogger(__name__)

_SUFFIX: Final = ".corrupt"
_KEPT: Final = re.compile(r".*\.corrupt(-\d{1,3})?", re.DOTALL)
_MOST_KEPT: Final = 999


def set_aside(path: Path) -> Path:
    """Rename a file that cannot be used to NAME.corrupt (NAME.corrupt-2, and so on, where that is taken).

    Gives where it lies now: in its place where it cannot be renamed, say on a read-only disk; the log says why then.
    """
    places = (path.with_name(f"{path.name}{_SUFFIX}{'' if n == 1 else f'-{n}'}") for n in range(1, _MOST_KEPT + 1))
    kept = next((place for place in places if not os.path.lexists(place)), None)
    if kept is None:
        logger.warning("%s cannot be used, and %d others like it are kept already: it stays", path, _MOST_KEPT)
        return path
    try:
        return path.replace(kept)
    except OSError as error:
        logger.warning("%s cannot be used, and cannot be renamed to %s: %s", path, kept.name, error)
        return path


def keep_copy(path: Path, suffix: str) -> Path:
    """Have what a file holds under a second name as well: NAME + `suffix`, with -2 and so on where that is taken.

    Gives where it lies. Raises OSError, and ValueError for a file of no use.
    """
    data = read_bytes(path)
    for number in range(1, _MOST_KEPT + 1):
        kept = path.with_name(f"{path.name}{suffix}{'' if number == 1 else f'-{number}'}")
        if not os.path.lexists(kept):
            with replacing(kept) as file:
                file.write(data)
            return kept
        if kept.is_file() and read_bytes(kept) == data:
            return kept
    raise OSError(errno.EEXIST, f"{_MOST_KEPT} others like it are kept already", str(path))


def is_aside(name: str) -> bool:
    """Tell whether a file of this name has been set aside."""
    return _KEPT.fullmatch(name) is not None
