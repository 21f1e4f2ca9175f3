"""Unpacking an archive from the network: nothing of it gets out of the folder that it is meant for."""

from __future__ import annotations

import gzip
import lzma
import os
import shutil
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO

from launchdeck.domain.errors import Cause, LaunchdeckError
from launchdeck.domain.text import Message
from launchdeck.files.removal import remove_file
from launchdeck.network.landing import check_disk_space, not_written

_ENTRY_LIMIT = 20_000
_CHUNK_BYTES = 1 << 20
_PROGRAM_MODE = 0o755


@dataclass(frozen=True, slots=True)
class _Entry:
    """A file, or a link to `link_to`. `name` is as the archive has it."""

    name: str
    read: Callable[[], IO[bytes] | None]
    size_bytes: int = 0
    is_program: bool = False
    link_to: str | None = None


class _UnsafeError(Exception):
    """What is in the archive may not be written; the text names it."""


# What the standard library raises for archives that are none; RuntimeError: a way to compress that it does not know.
_DAMAGED = (
    tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, lzma.LZMAError, struct.error, EOFError,
    _UnsafeError, ValueError, LookupError, OverflowError, RuntimeError,
)  # fmt: skip


def unpack(archive: Path, folder: Path, *, flat: bool = False) -> None:
    """Put the files of a .zip, .whl or .tar.gz below the folder; `flat`: all right into it, without folders.

    Names that lead out of the folder, links to outside, devices and the like are refused, before anything is written.
    Takes seconds: belongs into a worker thread.

    Raises:
        LaunchdeckError: the archive is damaged, unsafe, or has no room.
    """
    try:
        with _opened(archive) as opened:
            entries = [_checked(entry, flat=flat) for entry in _entries(opened)]
            check_disk_space(folder, sum(entry.size_bytes for entry in entries))
            folder.mkdir(parents=True, exist_ok=True)
            for entry in entries:
                _write(entry, folder)
    except _DAMAGED as error:
        raise LaunchdeckError.of(
            Cause.START_FAILED,
            Message("The archive {name} cannot be unpacked: {reason}.", name=archive.name, reason=error),
            Message("Name another source of engines in the settings, or get another engine."),
        ) from error
    except OSError as error:
        raise not_written(folder, error) from error


@contextmanager
def _opened(archive: Path) -> Iterator[tarfile.TarFile | zipfile.ZipFile]:
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as opened:
            yield opened
    else:
        with tarfile.open(archive, "r:gz") as opened:
            yield opened


def _entries(opened: tarfile.TarFile | zipfile.ZipFile) -> Iterator[_Entry]:
    """Files and links; folders are made where they are needed."""
    entries = _of_tar(opened) if isinstance(opened, tarfile.TarFile) else _of_zip(opened)
    for count, entry in enumerate(entries):
        if count >= _ENTRY_LIMIT:
            raise _UnsafeError(f"more than {_ENTRY_LIMIT} files")
        yield entry


def _of_tar(opened: tarfile.TarFile) -> Iterator[_Entry]:
    for member in opened:
        read = partial(opened.extractfile, member)
        if member.issym():
            yield _Entry(member.name, read, link_to=member.linkname)
        elif member.isreg():
            yield _Entry(member.name, read, member.size, is_program=bool(member.mode & stat.S_IXUSR))
        elif not member.isdir():
            raise _UnsafeError(f"{member.name} is no file")


def _of_zip(opened: zipfile.ZipFile) -> Iterator[_Entry]:
    for member in opened.infolist():
        mode = member.external_attr >> 16
        if member.is_dir():
            continue
        if stat.S_IFMT(mode) not in {0, stat.S_IFREG}:
            raise _UnsafeError(f"{member.filename} is no file")
        read = partial(opened.open, member)
        yield _Entry(member.filename, read, member.file_size, is_program=bool(mode & stat.S_IXUSR))


def _checked(entry: _Entry, *, flat: bool) -> _Entry:
    """The entry with the name that it is written under; its link, if it is one, stays within the folder."""
    path = _within(entry.name, entry.name)
    if flat:
        path = PurePosixPath(path.name)
    if entry.link_to is not None:
        target = PurePosixPath(entry.link_to)
        _within(os.path.normpath((path.parent / target).as_posix()), entry.name)
        if target.is_absolute():
            raise _UnsafeError(f"{entry.name} leads outside")
    return replace(entry, name=path.as_posix())


def _within(name: str, told_as: str) -> PurePosixPath:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.parts or "\\" in name or ":" in name or "\0" in name:
        raise _UnsafeError(f"{told_as[:100]!r} leads outside")
    return path


def _write(entry: _Entry, folder: Path) -> None:
    target = folder / entry.name
    # A link that came before may not carry what comes after it to another place.
    if any(parent.is_symlink() for parent in target.parents if parent != folder and folder in parent.parents):
        raise _UnsafeError(f"{entry.name} lies behind a link")
    target.parent.mkdir(parents=True, exist_ok=True)
    remove_file(target.parent, target.name)
    if entry.link_to is not None:
        target.symlink_to(entry.link_to)
        return
    source = entry.read()
    if source is None:
        raise _UnsafeError(f"{entry.name} has no content")
    with source, target.open("xb") as file:
        shutil.copyfileobj(source, file, _CHUNK_BYTES)
    if entry.is_program:
        target.chmod(_PROGRAM_MODE)
