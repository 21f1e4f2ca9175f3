"""window.ini: where the window was, in the form that Qt's QSettings gives such a file, read without trust.

Qt would make of such a file any value it has a type for, and shows a window of any size at any place. Of a window only
what Qt itself could have written is passed on to it, and of a splitter nothing but the sizes.
"""

from __future__ import annotations

import logging
import re
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from launchdeck.files.aside import set_aside
from launchdeck.files.reading import read_bytes
from launchdeck.files.replacing import replacing

logger = logging.getLogger(__name__)

LIMIT_BYTES: Final = 64 * 1024
MOST_PIXELS: Final = 32_767
"""More than any desktop has, and all that a window of X11 can have."""
_MOST_SCREENS: Final = 64
_LINE: Final = re.compile(rb"\[[^\]]*\]|[;#].*|[^=\0-\x08\x0e-\x1f]+=[^\0-\x08\x0e-\x1f]*")
_BYTES: Final = re.compile(rb'"?@ByteArray\((.*)\)"?', re.DOTALL)
_ESCAPE: Final = re.compile(rb"\\(?:x([0-9a-fA-F]{1,8})|(.?))", re.DOTALL)
_ESCAPED: Final = {
    b"0": b"\0", b"a": b"\a", b"b": b"\b", b"t": b"\t", b"n": b"\n", b"v": b"\v", b"f": b"\f", b"r": b"\r",
    b'"': b'"', b"\\": b"\\",
}  # fmt: skip
# What QWidget.saveGeometry writes: two numbers of itself, four rectangles with a screen and a state between them.
_GEOMETRY: Final = struct.Struct(">IHH4i4iiBBI4i")
_GEOMETRY_MAGIC: Final = 0x1D9D0CB
_GEOMETRY_VERSIONS: Final = range(1, 4)
# And QSplitter.saveState: a number, its version, how many sizes; then those, and how the splitter was made.
_SPLITTER: Final = struct.Struct(">iiI")
_SPLITTER_MAGIC: Final = 0xFF


class WindowMemory:
    """The file's values by name. Whatever is wrong with it costs what cannot be used, and is told in the log."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._is_unread = False
        self._values = self._read()

    def geometry(self, name: str) -> bytes | None:
        """For QWidget.restoreGeometry; None: nothing is remembered that could be."""
        value = self._values.get(name)
        if value is not None and not _is_geometry(value):
            self._refuse(name)
            return None
        return value

    def sizes(self, name: str, count: int) -> list[int] | None:
        """For QSplitter.setSizes, of so many widgets; None: as before."""
        value = self._values.get(name)
        sizes = None if value is None else _sizes(value)
        if value is not None and (sizes is None or len(sizes) != count):
            self._refuse(name)
            return None
        return sizes

    def write(self, values: Mapping[str, bytes]) -> None:
        """Replace the file. That it cannot be written is logged, and so is that what is there is not written over."""
        if self._is_unread and self._keep("it could not be read") == self._path:
            return
        lines = [f"{name}=@ByteArray({_escaped(value)})" for name, value in values.items()]
        try:
            with replacing(self._path) as file:
                file.write("\n".join(("[General]", *lines, "")).encode())
        except OSError as error:
            logger.warning("Where the window is could not be saved: %s", error)

    def _read(self) -> dict[str, bytes]:
        try:
            return self._parse(read_bytes(self._path, LIMIT_BYTES))
        except FileNotFoundError:
            return {}
        except OSError as error:
            self._is_unread = True
            logger.warning("Where the window was cannot be read: %s (%s)", self._path, error.strerror or error)
        except ValueError as error:
            self._keep(error)
        return {}

    def _parse(self, text: bytes) -> dict[str, bytes]:
        """Raises ValueError for what is no such file at all."""
        values = {}
        for line in text.splitlines():
            stripped = line.strip()
            if not stripped:
                continue
            if not _LINE.fullmatch(stripped):
                raise ValueError("it has lines that no such file has")
            name, found, value = stripped.partition(b"=")
            if found and not stripped.startswith((b"[", b";", b"#")):
                key = name.strip().decode("latin-1")
                try:
                    values[key] = _unescaped(value.strip())
                except ValueError:
                    self._refuse(key)
        return values

    def _refuse(self, name: str) -> None:
        logger.warning("Where the window was: %r in %s cannot be used, and is left out", name[:80], self._path)

    def _keep(self, reason: object) -> Path:
        kept = set_aside(self._path)
        logger.warning("Where the window was: %s cannot be used (%s); it is kept as %s", self._path, reason, kept.name)
        self._is_unread = kept == self._path
        return kept


def _escaped(value: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in value)


def _unescaped(value: bytes) -> bytes:
    """The bytes that QSettings wrote so. Raises ValueError."""
    found = _BYTES.fullmatch(value)
    if found is None:
        raise ValueError("no bytes")

    def meant(escape: re.Match[bytes]) -> bytes:
        digits, letter = escape.groups()
        if digits is not None:
            return bytes((int(digits, 16),))
        if letter not in _ESCAPED:
            raise ValueError("no escape")
        return _ESCAPED[letter]

    return _ESCAPE.sub(meant, found[1])


def _is_geometry(value: bytes) -> bool:
    if len(value) != _GEOMETRY.size:
        return False
    magic, version, _, *rest = _GEOMETRY.unpack(value)
    frame, normal, (screen, maximized, full_screen, width), shown = rest[:4], rest[4:8], rest[8:12], rest[12:]
    return (
        magic == _GEOMETRY_MAGIC
        and version in _GEOMETRY_VERSIONS
        and all(map(_is_rectangle, (frame, normal, shown)))
        and -1 <= screen < _MOST_SCREENS
        and maximized in {0, 1}
        and full_screen in {0, 1}
        and width <= MOST_PIXELS
    )


def _is_rectangle(sides: list[int]) -> bool:
    """Left, top, right and bottom, where the right edge is the last pixel."""
    left, top, right, bottom = sides
    are_near = all(-MOST_PIXELS <= side <= MOST_PIXELS for side in sides)
    return are_near and 0 <= right - left < MOST_PIXELS and 0 <= bottom - top < MOST_PIXELS


def _sizes(value: bytes) -> list[int] | None:
    if len(value) < _SPLITTER.size:
        return None
    magic, _, count = _SPLITTER.unpack_from(value)
    if magic != _SPLITTER_MAGIC or count > (len(value) - _SPLITTER.size) // 4:
        return None
    sizes = list(struct.unpack_from(f">{count}i", value, _SPLITTER.size))
    return sizes if all(0 <= size <= MOST_PIXELS for size in sizes) and any(sizes) else None
