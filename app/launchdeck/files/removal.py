"""The one place where anything is deleted. Imported by the shim as well: nothing but the standard library.

Each function takes a folder and the name of a direct child of it; a name that could lead elsewhere is refused, whatever
it was read from. The child is found relative to the opened folder and no link is followed, so that a folder exchanged
for a link in between changes nothing.
"""

from __future__ import annotations

import os
import stat

TYPE_CHECKING = False  # `typing` and `pathlib` are not worth their import time in a shim
if TYPE_CHECKING:
    from collections.abc import Callable
    from os import PathLike

_FOLDER_FLAGS = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)


def is_child_name(name: str) -> bool:
    """Tell whether `name`, joined to a folder, can be nothing but a direct child of that folder."""
    separators = {"/", "\0", os.sep, os.altsep or "/"}
    return name not in {"", os.curdir, os.pardir} and separators.isdisjoint(name)


def remove_file(folder: str | PathLike[str], name: str) -> bool:
    """Delete one file, or a link itself, directly in `folder`. False: it is not there.

    Raises:
        OSError: it cannot be deleted, or is a folder.
        ValueError: `name` is no name of a direct child.
    """
    return _unlink(folder, name, lambda _mode: None)


def remove_socket(folder: str | PathLike[str], name: str) -> bool:
    """Delete one socket directly in `folder`. False: it is not there.

    Raises:
        OSError: it cannot be deleted, or is anything else than a socket.
        ValueError: `name` is no name of a direct child.
    """

    def check(mode: int) -> None:
        if not stat.S_ISSOCK(mode):
            raise FileExistsError(f"{os.path.join(folder, name)} is no socket")

    return _unlink(folder, name, check)


def remove_tree(folder: str | PathLike[str], name: str) -> bool:
    """Delete one folder directly in `folder`, with all below it. False: it is not there.

    Raises:
        OSError: some of it cannot be deleted, or it is no folder but a file or a link.
        ValueError: `name` is no name of a direct child.
    """
    import shutil  # noqa: PLC0415 (a shim deletes no tree)

    if not is_child_name(name):
        raise ValueError(f"{name!r} is no name of a folder in {os.fspath(folder)}")
    if not _has_relative_paths():
        place = os.path.join(folder, name)
        if os.path.lexists(place):
            shutil.rmtree(place)
            return True
        return False
    try:
        opened = os.open(folder, _FOLDER_FLAGS)
    except FileNotFoundError:
        return False
    try:
        mode = os.stat(name, dir_fd=opened, follow_symlinks=False).st_mode
        if not stat.S_ISDIR(mode):
            raise NotADirectoryError(f"{os.path.join(folder, name)} is no folder")
        shutil.rmtree(name, dir_fd=opened)
    except FileNotFoundError:
        return False
    finally:
        os.close(opened)
    return True


def _unlink(folder: str | PathLike[str], name: str, check: Callable[[int], None]) -> bool:
    if not is_child_name(name):
        raise ValueError(f"{name!r} is no name of a file in {os.fspath(folder)}")
    if not _has_relative_paths():
        return _unlink_there(os.path.join(folder, name), None, check)
    try:
        opened = os.open(folder, _FOLDER_FLAGS)
    except FileNotFoundError:
        return False
    try:
        return _unlink_there(name, opened, check)
    finally:
        os.close(opened)


def _unlink_there(name: str, folder: int | None, check: Callable[[int], None]) -> bool:
    try:
        check(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)
        os.unlink(name, dir_fd=folder)
    except FileNotFoundError:
        return False
    return True


def _has_relative_paths() -> bool:
    """Windows opens no folders; its links need rights that few have."""
    return os.unlink in os.supports_dir_fd and os.stat in os.supports_dir_fd
