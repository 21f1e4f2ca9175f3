"""Reading a GGUF header from front to back, in bounded pieces, trusting nothing it says about itself."""

from __future__ import annotations

import re
import struct
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, BinaryIO

from launchdeck.files.apart import still_looking

if TYPE_CHECKING:
    from launchdeck.models.gguf.header import ByteOrder

_WINDOW_BYTES = 1 << 20
_RUN = 256
_SHORT = 127


class DamagedError(ValueError):
    """The header contradicts itself or the size of its file; the text says how, in a few words."""


class TruncatedError(DamagedError):
    """The file ends before its header does."""


class Cursor:
    """A place in the file. Nothing is read or allocated that the rest of the file could not hold.

    The file is read, not mapped: a mapped file that is cut short meanwhile (a download that starts anew) would end
    the whole process with SIGBUS.
    """

    def __init__(self, file: BinaryIO, size_bytes: int) -> None:
        self._file = file
        self._size = size_bytes
        self._data = b""
        self._start = 0
        self._at = 0
        self.byte_order: ByteOrder = "little"

    @property
    def position(self) -> int:
        """Offset in the file of what comes next."""
        return self._start + self._at

    @property
    def remaining(self) -> int:
        return self._size - self.position

    def unpack(self, layout: str) -> tuple[Any, ...]:
        """Values laid out as `struct` has it, without the sign of the byte order."""
        packer = _packer(layout, self.byte_order)
        self._need(packer.size)
        values = packer.unpack_from(self._data, self._at)
        self._at += packer.size
        return values

    def take(self, count: int) -> bytes:
        """The next bytes themselves."""
        self._need(count)
        self._at += count
        return self._data[self._at - count : self._at]

    def skip(self, count: int) -> None:
        """Jump over bytes without reading them."""
        if count > self.remaining:
            raise TruncatedError("it ends too early")
        self._at += count

    def string(self, limit_bytes: int) -> str | None:
        """A string with its length before it; None, and jumped over, where it is longer than the limit."""
        (length,) = self.unpack("Q")
        if length > limit_bytes:
            self.skip(length)
            return None
        return self.take(length).decode("utf-8", "replace")

    def skip_strings(self, count: int) -> None:
        """Jump over an array of strings: a vocabulary or its merges, hundreds of thousands of them.

        Each has to be visited, because its length says where the next one is. One compiled pattern visits 256 short
        ones at C's speed, four times faster than a loop; where one among them is longer, the loop takes them all.
        """
        run = _run_of_strings(self.byte_order)
        while count:
            step = min(count, _RUN)
            self._need(min(step * (8 + _SHORT), self.remaining))
            match = run.match(self._data, self._at) if step == _RUN else None
            if match:
                self._at = match.end()
            else:
                for _ in range(step):
                    self.skip(self.unpack("Q")[0])
            count -= step

    def _need(self, count: int) -> None:
        if self._at + count <= len(self._data):
            return
        if count > self.remaining:
            raise TruncatedError("it ends too early")
        still_looking()
        self._start += self._at
        self._at = 0
        self._file.seek(self._start)
        self._data = self._file.read(max(count, _WINDOW_BYTES))
        if len(self._data) < count:
            raise TruncatedError("it became shorter while it was read")


@lru_cache(maxsize=256)
def _packer(layout: str, byte_order: ByteOrder) -> struct.Struct:
    return struct.Struct(("<" if byte_order == "little" else ">") + layout)


@cache
def _run_of_strings(byte_order: ByteOrder) -> re.Pattern[bytes]:
    """256 strings of at most 127 bytes in a row: an 8-byte length, then that many bytes."""
    packer = _packer("Q", byte_order)
    one = b"|".join(re.escape(packer.pack(length)) + b".{%d}" % length for length in range(_SHORT + 1))
    return re.compile(b"(?:%b){%d}" % (one, _RUN), re.DOTALL)
