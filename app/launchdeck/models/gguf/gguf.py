"""The header of a GGUF model, however many files it has."""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from launchdeck.domain.text import Message
from launchdeck.files.looking import is_there, status_of
from launchdeck.models.errors import unusable
from launchdeck.models.gguf.gguf_file import read_file
from launchdeck.models.gguf.header import GgufHeader, GgufTensor

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["GgufHeader", "GgufTensor", "HeaderCache", "read_header", "split_name"]

_SHARD_NAME = re.compile(r"(?P<prefix>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf")
_NAMED_IN_MESSAGE = 3


def read_header(path: Path) -> GgufHeader:
    """Read a model's header; of a split model, given any of its shards, the headers of all.

    Raises:
        LaunchdeckError: The model cannot be used: missing, not a GGUF, damaged, incomplete.
    """
    header = read_file(path, shard=0)
    count = header.integer("split.count") or 1
    if count <= 1:
        return header
    paths = _shards(path, count)
    shards = [read_file(shard_path, shard) for shard, shard_path in enumerate(paths)]
    return replace(
        shards[0],
        files=paths,
        size_bytes=sum(shard.size_bytes for shard in shards),
        tensors=tuple(tensor for shard in shards for tensor in shard.tensors),
    )


def split_name(name: str) -> tuple[str, int, int] | None:
    """Prefix, number (from 1) and count of a shard's file name `PREFIX-00001-of-00003.gguf`."""
    match = _SHARD_NAME.fullmatch(name)
    return (match["prefix"], int(match["number"]), int(match["count"])) if match else None


def _shards(path: Path, count: int) -> tuple[Path, ...]:
    parts = split_name(path.name)
    if parts is None or parts[2] != count:
        raise unusable(
            Message(
                "{path} is one of {count} parts of a model, but its name does not say which.",
                path=str(path),
                count=count,
            ),
            Message("Give the parts their names back: NAME-00001-of-{count}.gguf and so on.", count=f"{count:05}"),
        )
    paths = tuple(path.with_name(f"{parts[0]}-{number:05}-of-{count:05}.gguf") for number in range(1, count + 1))
    missing = [shard.name for shard in paths if not is_there(shard)]
    if missing:
        raise unusable(
            Message("Parts of the model {path} are missing: {missing}.", path=str(path), missing=_listed(missing)),
            Message("Put all {count} parts into one folder.", count=count),
        )
    return paths


def _listed(names: list[str]) -> str:
    more = len(names) - _NAMED_IN_MESSAGE
    return ", ".join(names[:_NAMED_IN_MESSAGE]) + (f" (+{more})" if more > 0 else "")


class HeaderCache:
    """Headers of files that did not change since they were read, the latest `capacity` of them; any thread may ask."""

    def __init__(self, capacity: int = 64) -> None:
        self._capacity = capacity
        self._lock = threading.Lock()
        self._entries: OrderedDict[Path, _Entry] = OrderedDict()

    def read(self, path: Path) -> GgufHeader:
        """As `read_header`. A failure is not kept: the file may be mended.

        Raises:
            LaunchdeckError: The model cannot be used.
        """
        with self._lock:
            entry = self._entries.get(path)
        if entry is None or entry.stamps != _stamps(entry.header.files):
            header = read_header(path)
            entry = _Entry(header, _stamps(header.files))
        with self._lock:
            self._entries[path] = entry
            self._entries.move_to_end(path)
            while len(self._entries) > self._capacity:
                self._entries.popitem(last=False)
        return entry.header


@dataclass(frozen=True, slots=True)
class _Entry:
    header: GgufHeader
    stamps: tuple[tuple[int, int] | None, ...]


def _stamps(files: tuple[Path, ...]) -> tuple[tuple[int, int] | None, ...]:
    """Size and time of the last change of every file, None for one that is gone: then reading it says so."""
    return tuple(_stamp(file) for file in files)


def _stamp(file: Path) -> tuple[int, int] | None:
    try:
        status = status_of(file)
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns
