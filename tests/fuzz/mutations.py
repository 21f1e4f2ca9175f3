"""Damage, as disks, editors, other programs and attackers do it, from a seeded source of chance."""

from __future__ import annotations

import copy
import json
import os
import random
import shutil
from pathlib import Path
from typing import Any

DEEP = 100_000
_LITERALS = ("NaN", "Infinity", "-Infinity", "1e999", "1" + "0" * 400, "9" * 5000, '"\\ud800"', '"\\u0000"')


class Literal:
    """What JSON can spell and Python's encoder does not write."""

    def __init__(self, text: str) -> None:
        self.text = text


class Mutator:
    """`sentinel` is a tree that damaged files may name and nobody may touch."""

    def __init__(self, seed: int, sentinel: Path) -> None:
        self.chance = random.Random(seed)
        self._sentinel = str(sentinel)

    def document(self, valid: Any) -> bytes:
        """A document with one to three of its values, keys or items changed, as JSON."""
        document = copy.deepcopy(valid)
        for _ in range(self.chance.randint(1, 3)):
            document = self._changed(document)
        return _encode(document).encode()

    def data(self, valid: bytes) -> bytes:
        """Bytes that were cut, flipped, doubled or replaced."""
        at = self.chance.randrange(len(valid) + 1)
        match self.chance.randrange(9):
            case 0:
                return valid[:at]
            case 1:
                return valid[:at] + self.chance.randbytes(self.chance.randint(1, 40)) + valid[at:]
            case 2:
                flipped = bytearray(valid or b"\0")
                for _ in range(self.chance.randint(1, 8)):
                    flipped[self.chance.randrange(len(flipped))] ^= 1 << self.chance.randrange(8)
                return bytes(flipped)
            case 3:
                return self.chance.randbytes(self.chance.randint(0, 4000))
            case 4:
                return valid[:at] + b"\0" * self.chance.randint(1, 5000)
            case 5:
                return self.chance.choice([b"[", b'{"a":', b"[[],", b"a.", b"[a."]) * DEEP
            case 6:
                return b"\xef\xbb\xbf" + valid
            case 7:
                return valid + valid
            case _:
                return self.chance.choice([b"", b"null", b"[]", b"{}", b"7", b'""', b"true", b"\xff\xfe"])

    def place(self, path: Path) -> None:
        """Put something into the place of a file that is no file that can be read."""
        path.parent.mkdir(parents=True, exist_ok=True)
        take_away(path)
        match self.chance.randrange(6):
            case 0:
                os.mkfifo(path)
            case 1:
                (path / "something").mkdir(parents=True)
            case 2:
                path.symlink_to(path)
            case 3:
                path.symlink_to(self._sentinel)
            case 4:
                path.write_bytes(b"{}")
                path.chmod(0)
            case _:
                path.symlink_to("/dev/zero")

    def _changed(self, value: Any) -> Any:
        """This value, or something below it, with a change."""
        if isinstance(value, dict) and value and self.chance.random() < 0.9:
            key = self.chance.choice(list(value))
            match self.chance.randrange(12):
                case 0:
                    del value[key]
                case 1:
                    value[self._word()] = value.pop(key)
                case _:
                    value[key] = self._changed(value[key])
            return value
        if isinstance(value, list) and value and self.chance.random() < 0.8:
            place = self.chance.randrange(len(value))
            match self.chance.randrange(8):
                case 0:
                    del value[place]
                case 1:
                    value.extend(copy.deepcopy(value) * self.chance.choice([1, 50]))
                case _:
                    value[place] = self._changed(value[place])
            return value
        return self._anything()

    def _anything(self) -> Any:
        choice = self.chance.randrange(6)
        if choice == 0:
            return self._word()
        if choice == 1:
            return Literal(self.chance.choice(_LITERALS))
        if choice == 2:
            return self.chance.choice([0, 1, -1, 2, 255, 2**31 - 1, 2**31, 2**53 + 1, 2**63, -(2**63) - 1, 0.5, 1e308])
        if choice == 3:
            return self.chance.choice([None, True, False, [], {}, [[]], {"": {}}, [None] * 3])
        if choice == 4:
            return self._nested(self.chance.choice([5, 70, 900]))
        return {"template": self._word(), "values": {self._word(): self._word()}}

    def _nested(self, depth: int) -> Literal:
        shells = [
            self.chance.choice([("[", "]"), ('{"a": ', ', "template": "{a}", "values": {}}')]) for _ in range(depth)
        ]
        return Literal("".join(begin for begin, _ in shells) + "7" + "".join(end for _, end in reversed(shells)))

    def _word(self) -> str:
        words = [
            *("", ".", "..", "/", "../..", "a/b", "\0", "\n", "\x1b[2J", "x" * 300, "y" * 70_000, "ü" * 200, "-1"),
            *("{x}", "{0}", "{a.__class__}", "{", "{:>999999999}", "0000000a", "null", "nan", "\u202e"),
            *(self._sentinel, f"{self._sentinel}/below", f"../../../{Path(self._sentinel).name}"),
        ]
        return self.chance.choice(words)


def take_away(path: Path) -> None:
    """Clear a place for the next damage, whatever lies there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _encode(value: Any) -> str:
    """As json.dumps, with Literals."""
    if isinstance(value, Literal):
        return value.text
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)}: {_encode(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_encode, value)) + "]"
    return json.dumps(value)
