"""Files that one process at a time holds: the kernel frees them when it dies, however that is."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

from launchdeck.files.reading import NotRegularError

if TYPE_CHECKING:
    from pathlib import Path

_FLAGS = (
    os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
)


def hold(path: Path) -> int | None:
    """Hold this file, made where it is not there, until the descriptor is closed; None: another process has it.

    Raises:
        NotRegularError: a folder, a link, a pipe or a device has its name.
        OSError: it cannot be opened or locked, or its folder not made.
    """
    import fcntl  # noqa: PLC0415 (the application opens on Windows too, where nothing is locked)

    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        file = os.open(path, _FLAGS, 0o600)
    except OSError as error:
        if error.errno in {errno.EISDIR, errno.ELOOP, errno.ENXIO, errno.ENODEV}:
            raise _no_file(path) from error
        raise
    try:
        _check_regular(file, path)
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        return None
    except BaseException:
        os.close(file)
        raise
    return file


def _check_regular(file: int, path: Path) -> None:
    if not stat.S_ISREG(os.fstat(file).st_mode):
        raise _no_file(path)


def _no_file(path: Path) -> NotRegularError:
    return NotRegularError(errno.EINVAL, "it is a folder, a link, a pipe or a device, not a file", str(path))
