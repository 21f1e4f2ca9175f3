"""The log of one engine on disk: its head for ever, then a rotating tail; never more than its limit.

Bytes have an offset in the engine's output. A segment file is named for the offset of its first byte, so a gap
(rotated away, or not written because the disk was full) is seen by the names alone. Imported by the shim.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
import time

from launchdeck.files.removal import remove_file
from launchdeck.serving.shim.record import create_file

PREFIX = "log-"
OFFSET_DIGITS = 15
HEAD_BYTES = 1024 * 1024
RECENT_BYTES = 128 * 1024
TAIL_SEGMENTS = 4
RETRY_S = 1.0
_SEGMENT = re.compile(rf"{PREFIX}([0-9]{{{OFFSET_DIGITS}}})")


def head_bytes(limit_bytes: int) -> int:
    """How much of the beginning is kept for ever."""
    return min(HEAD_BYTES, limit_bytes // 2)


def segments(folder: str) -> list[tuple[int, int]]:
    """(offset, size) of every segment in the folder, in order. One may be rotated away at any moment, what else lies
    there is none of ours, and what cannot be looked at now, say on a disk that is away, is as good as not there.
    """
    found = []
    try:
        names = os.listdir(folder)
    except OSError:
        return []
    for name in names:
        match = _SEGMENT.fullmatch(name)
        with contextlib.suppress(OSError):
            status = os.lstat(os.path.join(folder, name)) if match else None
            if match and status and stat.S_ISREG(status.st_mode):
                found.append((int(match[1]), status.st_size))
    return sorted(found)


def read_log(folder: str, offset: int, size: int) -> tuple[int, bytes]:
    """Up to `size` bytes from the first offset >= `offset` that is on disk; (offset, b"") at the end."""
    for start, length in segments(folder):
        if offset < start + length:
            first = max(offset, start)
            with contextlib.suppress(OSError), open(_path(folder, start), "rb") as file:
                file.seek(first - start)
                return first, file.read(size)
    return offset, b""


def _path(folder: str, offset: int) -> str:
    return os.path.join(folder, _name(offset))


def _name(offset: int) -> str:
    return f"{PREFIX}{offset:0{OFFSET_DIGITS}}"


class LogWriter:
    """Takes every byte of the engine, whatever the disk does: `error` says why the last write failed, or is None."""

    def __init__(self, folder: str, limit_bytes: int) -> None:
        self._folder = folder
        self._limit_bytes = limit_bytes
        self._head_bytes = head_bytes(limit_bytes)
        self._tail_segment_bytes = (limit_bytes - self._head_bytes) // TAIL_SEGMENTS
        self._file: int | None = None
        self._room_bytes = 0
        self._retry_at_s = 0.0
        self._recent = bytearray()
        self.end = 0
        self.error: OSError | None = None

    def write(self, data: bytes) -> None:
        """Append; what cannot be written is left out of the files, and tried again with the next bytes."""
        self._recent += data
        if len(self._recent) > 2 * RECENT_BYTES:
            del self._recent[:-RECENT_BYTES]
        offset, self.end = self.end, self.end + len(data)
        if self.error is not None and time.monotonic() < self._retry_at_s:
            return
        try:
            self._write(offset, memoryview(data))
            self.error = None
        except OSError as error:
            self.error = error
            self._retry_at_s = time.monotonic() + RETRY_S
            self._close_segment()  # the next one is named for what comes behind the gap

    def _write(self, offset: int, data: memoryview) -> None:
        while data:
            file = self._file if self._file is not None and self._room_bytes else self._open_segment(offset)
            written = os.write(file, data[: self._room_bytes])
            data = data[written:]
            offset += written
            self._room_bytes -= written

    def _open_segment(self, offset: int) -> int:
        self._close_segment()
        self._prune()
        self._file = create_file(self._folder, _name(offset))
        self._room_bytes = self._head_bytes - offset if offset < self._head_bytes else self._tail_segment_bytes
        return self._file

    def _close_segment(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            try:
                os.close(file)
            except OSError as error:  # a network's disk says only now that it is full
                self.error = error

    def _prune(self) -> None:
        """Make room for one more segment of the tail, oldest first; the head stays."""
        found = segments(self._folder)
        total_bytes = sum(size for _, size in found)
        for offset, size in found:
            is_tail = offset >= self._head_bytes
            if size == 0 or (is_tail and total_bytes + self._tail_segment_bytes > self._limit_bytes):
                remove_file(self._folder, _name(offset))
                total_bytes -= size

    def read(self, offset: int, size: int) -> tuple[int, bytes]:
        """As `read_log`; the newest bytes come from memory, written or not."""
        recent_start = self.end - len(self._recent)
        if offset < recent_start:
            start, data = read_log(self._folder, offset, size)
            if data and start < recent_start:
                return start, data[: recent_start - start]
            offset = recent_start
        return offset, bytes(self._recent[offset - recent_start : offset - recent_start + size])

    def heal(self) -> None:
        """Go on in a new file where the present one was deleted."""
        try:
            is_deleted = self._file is not None and os.fstat(self._file).st_nlink == 0
        except OSError:  # its disk is not what it was
            is_deleted = True
        if is_deleted:
            self._close_segment()

    def close(self) -> None:
        self._close_segment()
