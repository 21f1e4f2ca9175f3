"""Damage, as disks, editors, other programs and attackers do it, from a seeded source of chance."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Sequence
from random import Random
from typing import Any


class Literal:
    """What JSON can spell and Python's encoder does not write."""

    def __init__(self, text: str) -> None:
        self.text = text


def _nested(depth: int, *shells: tuple[str, str]) -> Literal:
    """A number in so many shells, of these kinds in turn."""
    chosen = [shells[place % len(shells)] for place in range(depth)]
    return Literal("".join(begin for begin, _ in chosen) + "7" + "".join(end for _, end in reversed(chosen)))


_MANY = 100_000
_ARRAY, _MESSAGE = ("[", "]"), ('{"a": ', ', "template": "{a}", "values": {}}')
WORDS: tuple[str, ...] = (
    "", " ", "x", "x" * 300, "x" * 9999, "y" * 70_000, "é" * 200, "0" * 5000, "９９", "9.9", "null", "nan", "-1", "cpu",
    ".", "..", "/", "~", "../..", "../../x", "../../etc/passwd", "/etc/passwd", "a/b", "a/../b", "a\\b", "a:b", "con",
    "%2e%2e%2f", "-rf", "/".join("ab" * 40), "1_Pooling", "\0", "a\0b", "\ud800", "\n", "\x1b[31m", "\x1b[2J", "\u202e",
    "b" + "9" * 400, "v" + "." * 90 + "-cu", "0000000a", "sha256:" + "g" * 64, "sha256:" + "0" * 64,
    "{x}", "{0}", "{", "{a.__class__}", "{:>999999999}",
)  # fmt: skip
STRANGE: tuple[Any, ...] = (
    *WORDS, None, True, False, 0, -1, 1, 2, 3, 255, 2**31 - 1, 1 << 31, 2**53 + 1, 1 << 62, 2**63 - 1, -(2**63),
    0.0, 0.5, 1.5, -0.0, 1e300, 1e308, [], {}, [[]], [None], ["x"] * 5000, list(range(5000)), [[]] * 5000, [{}] * 3,
    {"": None}, {"": {}}, {"x": None}, {"sha256": 7}, {"sha256": "a" * 64},
    {"template": "{a.__class__}", "values": {}}, {"template": "{:>999999999}", "values": {"": "{"}},
    {"template": None, "values": [7]},
)  # fmt: skip
"""Of every kind that files.reading.parse_json lets through."""
BEYOND: tuple[Any, ...] = (
    float("nan"), float("inf"), float("-inf"), Literal("1e999"), 2**63, -(2**63) - 1, 1 << 64, 10**30, 10**400,
    Literal("9" * 5000), *(_nested(depth, _ARRAY) for depth in (5, 70, 500, 900)),
    *(_nested(depth, *shells) for depth in (5, 70, 900) for shells in ((_MESSAGE,), (_ARRAY, _MESSAGE))),
)  # fmt: skip
"""What else JSON can spell."""
ANYTHING = STRANGE + BEYOND
TEXTS: tuple[bytes, ...] = (
    b"", b" ", b"null", b"0", b"7", b'"x"', b'""', b"true", b"[]", b"{}", b"\0" * 100, b"\xff\xfe", b"\xef\xbb\xbf{}",
    b"NaN", b"-Infinity", b"1e999", b"9" * 10_000, b'"\\ud800"', b'"\\u0000"', b'{"a": 1, "a": 2}', b"<html>",
    b"[" * _MANY, b"[" * _MANY + b"]" * _MANY, b'{"a":' * 50_000 + b"1" + b"}" * 50_000, b'{"a":' * _MANY,
    b"[[]," * _MANY, b"a." * _MANY, b"[a." * _MANY, b'{"layers": ' + b"[" * 60 + b"]" * 60 + b"}",
)  # fmt: skip
"""What stands in a file instead of what should."""
PIECES: tuple[bytes, ...] = (
    b"[", b"(", b"{", b".", b"=", b'"', b"'", b"#", b"\\", b"-", b"\0", b"\n", b"\xff", b"9", b"inf", b"nan", b"NaN",
    b"9" * 400, b"1e999", b'{"a":', b"[" * _MANY,
)  # fmt: skip
"""What turns the meaning of a text."""


def damaged(data: bytes, chance: Random, pieces: Sequence[bytes] = PIECES) -> bytes:
    """The bytes cut, flipped, doubled, moved, with noise or `pieces` in or between them; or others altogether."""
    if chance.random() < 0.25:
        return _damaged_as_a_whole(data, chance)
    changed = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 3, 5, 8))):
        _damage(changed, chance, pieces)
    return bytes(changed)


def changed(document: Any, chance: Random, strange: Sequence[Any] = STRANGE) -> Any:
    """A copy with one to four values exchanged for `strange` ones, taken away, doubled, put in or put elsewhere."""
    holder = [copy.deepcopy(document)]
    for _ in range(chance.randint(1, 4)):
        _change(holder, chance, strange)
    return holder[0]


def encoded(document: Any) -> bytes:
    """As JSON, with Literals."""
    return _spelled(document).encode()


def broken(document: Any, chance: Random, strange: Sequence[Any] = ANYTHING) -> bytes:
    """JSON that holds something wrong, or is none."""
    if chance.random() < 0.7:
        return encoded(changed(document, chance, strange))
    return damaged(encoded(document), chance)


def _damaged_as_a_whole(data: bytes, chance: Random) -> bytes:
    at = chance.randrange(len(data) + 1)
    match chance.randrange(8):
        case 0:
            return data[:at]
        case 1:
            return data[:at] + b"\0" * chance.choice((10, chance.randint(1, 5000)))
        case 2:
            return data[at:] + data[:at]
        case 3:
            return data + data
        case 4:
            return data + data[at:]
        case 5:
            return b"\xef\xbb\xbf" + data
        case 6:
            return chance.randbytes(chance.randint(0, 4000))
        case _:
            return chance.choice(TEXTS)


def _damage(data: bytearray, chance: Random, pieces: Sequence[bytes]) -> None:
    """Put something in the place of as much, of a byte, of a few or of none."""
    at, few = chance.randrange(len(data) + 1), chance.randint(1, 20)
    piece = chance.choice(pieces)
    match chance.randrange(9):
        case 0:
            new = b""
        case 1:
            new = chance.randbytes(chance.choice((few, 40)))
        case 2:
            new = piece * (2000 if len(piece) <= 400 and chance.random() < 0.25 else 1)
        case 3 | 4:
            new = piece
        case 5:
            new = bytes(data[at : at + few])
        case 6:
            new = bytes(data[: chance.randrange(len(data) + 1)])
        case 7:
            new = chance.choice((b"\0", b"\xff")) * few
        case _:
            new = bytes(byte ^ 1 << chance.randrange(8) for byte in data[at : at + chance.randint(1, 8)])
            data[at : at + len(new)] = new
            return
    data[at : at + chance.choice((0, 1, few, len(new)))] = new


def _change(holder: list[Any], chance: Random, strange: Sequence[Any]) -> None:
    place = chance.choice(list(_containers(holder)))
    keys = list(place) if isinstance(place, dict) else list(range(len(place)))
    if not keys:
        return
    key = chance.choice(keys)
    what = chance.random()
    if what < 0.7 or place is holder:
        place[key] = _strange(place[key], chance, strange)
    elif what < 0.85:
        del place[key]
    elif isinstance(place, dict):
        place[chance.choice(("", "id", "size", "lfs", *WORDS))] = place.pop(key)
    elif what < 0.95:
        place.extend(copy.deepcopy(place if len(place) < 100 else [place[key]]) * chance.choice((1, 1, 50)))
    else:
        place.append(copy.deepcopy(chance.choice((place[key], chance.choice(strange)))))


def _strange(value: Any, chance: Random, strange: Sequence[Any]) -> Any:
    """Another kind of value, or the same text with a piece of another in it."""
    other = copy.deepcopy(chance.choice(strange))
    if isinstance(value, str) and isinstance(other, str) and chance.random() < 0.6:
        at = chance.randint(0, len(value))
        return value[:at] + other + value[at + chance.randint(0, 3) :]
    return other


def _containers(value: Any) -> Iterator[Any]:
    """Of what holds many, the first of them will do."""
    if isinstance(value, dict | list):
        yield value
        for inner in list(value.values() if isinstance(value, dict) else value)[:50]:
            yield from _containers(inner)


def _spelled(value: Any) -> str:
    if isinstance(value, Literal):
        return value.text
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)}: {_spelled(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_spelled, value)) + "]"
    return json.dumps(value)
