"""Where a file from the network is put: what lies there already, and whether it is right, or in the way."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import stat
import threading
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from launchdeck.domain.errors import Cause, LaunchdeckError
from launchdeck.domain.text import Message
from launchdeck.domain.units import GIB, MIB
from launchdeck.files.reading import open_regular

if TYPE_CHECKING:
    from launchdeck.network.remote_file import RemoteFile

PART_SUFFIX = ".part"
_DISK_RESERVE_BYTES = 256 * MIB
_CHUNK_BYTES = 4 * MIB
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_NOT_ALLOWED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
_OPEN_FLAGS = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)


class Kind(Enum):
    """What lies in a place; a link is a link, wherever it leads."""

    NOTHING = "nothing"
    FILE = "file"
    LINK = "link"
    OTHER = "other"


# What was found to be right in this run: hashing 40 GiB takes minutes, and nobody else writes these files.
_checked: dict[Path, tuple[int, int, int, str]] = {}


def part_path(target: Path, remote: RemoteFile) -> Path:
    """What is there of the file so far. Another version of the file has another name, so no two are mixed."""
    version = (remote.sha256 or str(remote.size_bytes))[:16]
    return target.with_name(f"{target.name}.{version}{PART_SUFFIX}")


def kind_of(path: Path) -> Kind:
    """What lies there; what cannot be told counts as nothing, and whoever writes there learns why."""
    try:
        mode = path.lstat().st_mode
    except (OSError, ValueError):
        return Kind.NOTHING
    return Kind.FILE if stat.S_ISREG(mode) else Kind.LINK if stat.S_ISLNK(mode) else Kind.OTHER


def fetched_bytes(target: Path, remote: RemoteFile) -> int:
    """How much of the file is on the disk already, by the sizes alone."""
    if _size_bytes(target) == remote.size_bytes:
        return remote.size_bytes
    return part_bytes(target, remote)


def part_bytes(target: Path, remote: RemoteFile) -> int:
    """How much of it has come and is not yet in its place."""
    part = part_path(target, remote)
    done = _size_bytes(part) if kind_of(part) is Kind.FILE else None
    return done if done is not None and done <= remote.size_bytes else 0


def check_disk_space(folder: Path, needed_bytes: int) -> None:
    """Raises LaunchdeckError: so many bytes and a reserve have no room there, or nobody can tell."""
    # By os.path: pathlib raises for what may not be looked into.
    existing = next(place for place in (folder, *folder.parents) if os.path.exists(place))  # noqa: PTH110
    try:
        free_bytes = shutil.disk_usage(existing).free
    except OSError as error:
        raise not_written(folder, error) from error
    if needed_bytes > 0 and needed_bytes + _DISK_RESERVE_BYTES > free_bytes:
        raise LaunchdeckError.of(
            Cause.DISK_FULL,
            Message(
                "{needed} GiB are needed in {folder}, and {free} GiB are free there.",
                needed=f"{needed_bytes / GIB:.1f}",
                folder=folder,
                free=f"{free_bytes / GIB:.1f}",
            ),
            Message("Free some space, then try again."),
        )


def is_there(target: Path, remote: RemoteFile, tell: Callable[[int], None], stop: threading.Event) -> bool:
    """Whether the file lies there and is the right one: by its SHA-256 where that is known, else by its size.

    `tell` is told how many bytes were looked at. What was checked in this run is not looked at again.

    Raises:
        LaunchdeckError: what lies there is not a file of ours, and is not to be replaced by one.
        OSError: it cannot be read.
    """
    kind = kind_of(target)
    if kind is Kind.OTHER:
        raise in_the_way(target)
    is_right = _size_bytes(target) == remote.size_bytes and (
        remote.sha256 is None or _is_checked(target, remote.sha256) or _hash(target, tell, stop) == remote.sha256
    )
    if is_right:
        note_checked(target, remote)
    elif kind is Kind.LINK:
        raise in_the_way(target)
    return is_right


def is_whole(part: Path, remote: RemoteFile, tell: Callable[[int], None], stop: threading.Event) -> bool:
    """Whether all of it has come and is the file that was announced. Raises OSError."""
    if _size_bytes(part) != remote.size_bytes:
        return False
    return remote.sha256 is None or _hash(part, tell, stop) == remote.sha256


def note_checked(target: Path, remote: RemoteFile) -> None:
    """Remember that this file is the right one."""
    if remote.sha256 is not None:
        _checked[target] = _identity(target, remote.sha256)


def open_part(part: Path) -> BinaryIO:
    """What has come so far, to be read and written; an empty file at first.

    Raises:
        LaunchdeckError: something else lies there.
        OSError: it cannot be opened.
    """
    part.parent.mkdir(parents=True, exist_ok=True)
    if kind_of(part) not in {Kind.NOTHING, Kind.FILE}:
        raise in_the_way(part)
    descriptor = os.open(part, _OPEN_FLAGS | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0), 0o666)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):  # exchanged meanwhile
        os.close(descriptor)
        raise in_the_way(part)
    return os.fdopen(descriptor, "r+b")


def in_the_way(path: Path) -> LaunchdeckError:
    """The error of a place that is taken by what must not be written over."""
    return LaunchdeckError.of(
        Cause.CONFLICT,
        Message("{path} is a link, a folder or a pipe: no file is put there.", path=str(path)),
        Message("Move it away, then try again."),
    )


def not_written(path: Path, error: OSError) -> LaunchdeckError:
    """The error of a file that the system does not take, or of one that is there and cannot be read."""
    advice, cause = Message("Check the disk that it is on, then try again."), Cause.NOT_FOUND
    if error.errno in _FULL:
        advice, cause = Message("Free some space, then try again."), Cause.DISK_FULL
    elif error.errno in _NOT_ALLOWED:
        advice = Message("Give your user the right to read and write it, then try again.")
    reason = error.strerror or str(error)
    return LaunchdeckError.of(
        cause, Message("The file {path} could not be written: {reason}.", path=str(path), reason=reason), advice
    )


def _hash(path: Path, tell: Callable[[int], None], stop: threading.Event) -> str | None:
    """The SHA-256; None where nobody wants it any more."""
    found, done = hashlib.sha256(), 0
    with open_regular(path) as file:
        while chunk := file.read(_CHUNK_BYTES):
            if stop.is_set():
                return None
            found.update(chunk)
            done += len(chunk)
            tell(done)
    return found.hexdigest()


def _is_checked(target: Path, sha256: str) -> bool:
    return target in _checked and _checked[target] == _identity(target, sha256)


def _identity(path: Path, sha256: str) -> tuple[int, int, int, str]:
    """Whoever changes a file changes one of these."""
    status = path.stat()
    return status.st_ino, status.st_size, status.st_mtime_ns, sha256


def _size_bytes(path: Path) -> int | None:
    """Of a file, or of one that a link leads to; None for anything else."""
    try:
        status = path.stat()
    except (OSError, ValueError):
        return None
    return status.st_size if stat.S_ISREG(status.st_mode) else None
