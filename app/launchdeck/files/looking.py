"""Looking at paths that anybody may have typed or written down.

pathlib raises for a path that no file can have, for a link that leads round in a circle, for a folder that may not be
entered and for the home of a user who is none; here nothing lies at such a path, and that is all there is to say.
"""

from __future__ import annotations

import os
from pathlib import Path


def is_file(path: Path) -> bool:
    """Tell whether a regular file lies there, or a link to one."""
    return os.path.isfile(path)


def is_folder(path: Path) -> bool:
    """Tell whether a folder lies there, or a link to one."""
    return os.path.isdir(path)


def exists(path: Path) -> bool:
    """Tell whether anything lies there that can be seen."""
    return os.path.exists(path)


def real(path: Path) -> Path:
    """Give the path without links, as far as they lead anywhere."""
    try:
        return Path(os.path.realpath(path))
    except ValueError:  # a NUL in it
        return path


def expanded(text: str) -> Path:
    """Give the absolute path that a user means, with `~` as a shell has it; it stays where there is no such home."""
    return Path(os.path.expanduser(text)).absolute()
