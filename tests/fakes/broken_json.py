"""JSON as nobody meant it: damaged as text, or with other values than are expected."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from random import Random

_VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 3, 1 << 31, (1 << 63) - 1, -(1 << 63), 1 << 64, 10**30, 0.0, 1.5, 1e308, float("inf"),
    float("nan"), "", "x", "x" * 300, "x" * 70_000, "a\0b", "..", "../../etc/passwd", "/", "~", "\ud800", "1_Pooling",
    "sha256:" + "0" * 64, [], [None], [[]], ["x"] * 5000, {}, {"x": None}, {"": {}}, list(range(5000)),
)  # fmt: skip
_TEXTS: tuple[bytes, ...] = (
    b"", b" ", b"null", b"0", b'"x"', b"[]", b"{}", b"\0" * 100, b"\xff\xfe", b"\xef\xbb\xbf{}", b"[" * 100_000,
    b"[" * 100_000 + b"]" * 100_000, b'{"a":' * 50_000 + b"1" + b"}" * 50_000, b"9" * 10_000, b"1e999", b"NaN",
    b"-Infinity", b'"\\ud800"', b'{"a": 1, "a": 2}', b"<html>", b'{"layers": ' + b"[" * 60 + b"]" * 60 + b"}",
)  # fmt: skip


def broken(document: Any, random: Random) -> bytes:
    """This document with some values exchanged, taken away or put in, or its text damaged, or another text."""
    kind = random.random()
    if kind < 0.15:
        return random.choice(_TEXTS)
    text = json.dumps(_changed(document, random) if kind < 0.75 else document).encode()
    return text if kind < 0.75 else _damaged(text, random)


def _changed(document: Any, random: Random) -> Any:
    document = json.loads(json.dumps(document))
    for _ in range(random.choice((1, 1, 2, 3))):
        places = list(_places(document))
        if not places:
            return _value(random)
        holder, key = random.choice(places)
        change = random.random()
        if change < 0.2:
            del holder[key]
        elif change < 0.3 and isinstance(holder, list):
            holder.append(_value(random))
        else:
            holder[key] = _value(random)
    return document


def _value(random: Random) -> Any:
    return copy.deepcopy(random.choice(_VALUES))


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Every value below, by what holds it and where."""
    keys = list(value) if isinstance(value, dict) else list(range(len(value))) if isinstance(value, list) else []
    return [(value, key) for key in keys] + [place for key in keys[:50] for place in _places(value[key])]


def _damaged(text: bytes, random: Random) -> bytes:
    at = random.randrange(len(text) + 1)
    return random.choice((
        text[:at],
        text[:at] + bytes(random.randrange(256) for _ in range(random.randrange(1, 9))) + text[at + 1 :],
        text[:at] + text[at:] * 2,
        text[at:] + text[:at],
        text + b"\0" * 10,
    ))  # fmt: skip
