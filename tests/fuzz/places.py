"""What may lie in the place of a file and is no file that can be read."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from random import Random


def put_in_place(path: Path, chance: Random, sentinel: Path) -> None:
    """A pipe, a folder, a link or a file that is refused; a link may lead to `sentinel`, which nobody may touch."""
    path.parent.mkdir(parents=True, exist_ok=True)
    take_away(path)
    match chance.randrange(6):
        case 0:
            os.mkfifo(path)
        case 1:
            (path / "something").mkdir(parents=True)
        case 2:
            path.symlink_to(path)
        case 3:
            path.symlink_to(sentinel)
        case 4:
            path.write_bytes(b"{}")
            path.chmod(0)
        case _:
            path.symlink_to("/dev/zero")


def take_away(path: Path) -> None:
    """Clear a place for the next damage, whatever lies there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
