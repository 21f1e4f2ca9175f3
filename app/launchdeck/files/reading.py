"""Reading files that anybody may have written, damaged or replaced by something that is no file.

Only regular files are opened: a pipe would hold up whoever opens it for good, a device may do anything. What is read
has a limit, and what JSON gives has one as well: whoever gets it may pass it on, compute with it and print it.
"""

from __future__ import annotations

import errno
import json
import math
import os
import stat
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from launchdeck.files.looking import status_of

if TYPE_CHECKING:
    from pathlib import Path

LIMIT_BYTES: Final = 16 << 20
"""More than any file of ours, or any small file beside a model, has."""
DEPTH_LIMIT: Final = 64
"""Our own documents and those that models bring are at most a dozen deep; decoding takes some frames for each level."""
TEXT_LIMIT: Final = 4 << 20
_INTEGER_LIMIT: Final = 1 << 63
_OPEN_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOCTTY", 0)


class NotRegularError(OSError):
    """What lies there is no file: a folder, a pipe, a socket or a device."""


def open_regular(path: Path | str) -> BinaryIO:
    """Open a file for reading, and nothing but a file; links are followed.

    Raises:
        NotRegularError: it is something else than a regular file.
        OSError: it is not there, cannot be opened or does not answer; also for a name that no file can have.
    """
    _check_regular(status_of(path), path)  # a device is not even opened
    descriptor = os.open(path, _OPEN_FLAGS | getattr(os, "O_BINARY", 0))
    try:
        _check_regular(os.fstat(descriptor), path)  # it may have been exchanged meanwhile
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_bytes(path: Path | str, limit_bytes: int = LIMIT_BYTES) -> bytes:
    """Read a small file whole.

    Raises:
        OSError: as `open_regular`, or it cannot be read.
        ValueError: it has more than `limit_bytes` bytes.
    """
    with open_regular(path) as file:
        data = file.read(limit_bytes + 1)
    if len(data) > limit_bytes:
        raise ValueError(f"it has more than {limit_bytes} bytes")
    return data


def read_json(path: Path | str, limit_bytes: int = LIMIT_BYTES, *, foreign: bool = False) -> Any:
    """Read a small JSON file.

    Raises:
        OSError: as `read_bytes`.
        ValueError: it is too long, or as `parse_json`.
    """
    return parse_json(read_bytes(path, limit_bytes), foreign=foreign)


def parse_json(data: bytes | str, *, foreign: bool = False) -> Any:
    """Parse JSON whose values can be used without a second thought: numbers are finite and have at most 64 bits, texts
    can be written as UTF-8, nothing is nested deeper than DEPTH_LIMIT.

    Names of files may hold bytes that are no text, and in ours stand as the system gives them to Python: for these
    bytes, and for no other sign, ours may have half of a surrogate pair.

    In a `foreign` document numbers that are not so become None: Python's own writer puts down Infinity, and a limit
    that is none as ten to the thirtieth. In ours there are none.

    Raises:
        ValueError: it is something else; nothing but this.
    """
    numbers = _FOREIGN_NUMBERS if foreign else _OUR_NUMBERS
    try:
        document = json.loads(data, **numbers)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    _check_values(document, "strict" if foreign else "surrogateescape")
    return document


def _check_regular(status: os.stat_result, path: Path | str) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise NotRegularError(errno.EINVAL, "it is a folder, a pipe or a device, not a file", str(path))


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number in JSON")


def _known_integer(text: str) -> int | None:
    value = int(text)
    return value if -_INTEGER_LIMIT <= value < _INTEGER_LIMIT else None


def _known_float(text: str) -> float | None:
    value = float(text)
    return value if math.isfinite(value) else None


_OUR_NUMBERS: Final[dict[str, Any]] = {"parse_constant": _refuse_constant}
_FOREIGN_NUMBERS: Final[dict[str, Any]] = {
    "parse_constant": lambda _name: None,
    "parse_int": _known_integer,
    "parse_float": _known_float,
}


def _check_values(document: Any, surrogates: str) -> None:
    """Without recursion, which is what a document nested too deeply is after."""
    level: list[Any] = [document]
    for _ in range(DEPTH_LIMIT):
        below: list[Any] = []
        for value in level:
            if isinstance(value, dict):
                below += value.keys()
                below += value.values()
            elif isinstance(value, list):
                below += value
            else:
                _check_value(value, surrogates)
        if not below:
            return
        level = below
    raise ValueError("it is nested too deeply")


def _check_value(value: Any, surrogates: str) -> None:
    if isinstance(value, str):
        if len(value) > TEXT_LIMIT:
            raise ValueError("a text in it is too long")
        value.encode(
            errors=surrogates
        )  # half of a surrogate pair, which JSON can spell and nobody can print: a ValueError
    elif isinstance(value, float) and not math.isfinite(value):
        raise ValueError("a number in it is infinite")
    elif isinstance(value, int) and not -_INTEGER_LIMIT <= value < _INTEGER_LIMIT:
        raise ValueError("a number in it is too large")
