"""Looking at paths that anybody may have typed or written down.

pathlib raises for a path that no file can have, for a link that leads round in a circle, for a folder that may not be
entered and for the home of a user who is none; here nothing lies at such a path, and that is all there is to say.
"""

from __future__ import annotations

import errno
import os
import shutil
from contextlib import suppress
from pathlib import Path

from launchdeck.files.apart import NoAnswerError, looking_at


def status_of(path: Path | str) -> os.stat_result:
    """What the system says of it; links are followed.

    Raises:
        OSError: it is not there, or may not be looked at, or does not answer; also for a name that no file can have.
    """
    looking_at(path)
    try:
        return os.stat(path)
    except ValueError as error:  # a NUL in it, or half of a surrogate pair
        raise FileNotFoundError(errno.ENOENT, f"no file can have this name ({error})", repr(path)) from error


def is_there(path: Path | str) -> bool:
    """Whether anything has this name, as far as one may look; links are followed.

    Raises:
        NoAnswerError: nobody can tell.
    """
    looking_at(path)
    return os.path.exists(path)


def is_folder(path: Path | str) -> bool:
    """Whether this is a folder, as far as one may look; links are followed.

    Raises:
        NoAnswerError: nobody can tell.
    """
    looking_at(path)
    return os.path.isdir(path)


def is_file(path: Path | str) -> bool:
    """Whether this is a regular file, as far as one may look; links are followed.

    Raises:
        NoAnswerError: nobody can tell.
    """
    looking_at(path)
    return os.path.isfile(path)


def on_path(program: str) -> Path | None:
    """Where a program lies that is on PATH, None: nowhere. A folder of PATH that does not answer is left out."""
    for folder in os.get_exec_path():
        with suppress(NoAnswerError):
            looking_at(folder)
            found = shutil.which(program, path=folder)
            if found is not None:
                return Path(found).absolute()
    return None


def real(path: Path) -> Path:
    """Give the path without links, as far as they lead anywhere and may be read."""
    return Path(real_name(path))


def real_name(path: Path | str) -> str:
    """Give the same as text: a Path for each of ten thousand files would be thrown away."""
    try:
        return os.path.realpath(path)
    except (OSError, ValueError):  # a link that may not be read, or cannot be now; a NUL in a name
        return os.path.abspath(path)


def expanded(text: str) -> Path:
    """Give the absolute path that a user means, with `~` as a shell has it; it stays where there is no such home."""
    return Path(os.path.expanduser(text)).absolute()
