"""Writes GGUF files: tiny ones, damaged ones, and ones of any size that take a few kilobytes on disk."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from launchdeck.models.gguf.ggml import BY_NAME

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_IDS = {"B": 0, "b": 1, "H": 2, "h": 3, "I": 4, "i": 5, "f": 6, "?": 7, "Q": 10, "q": 11, "d": 12}
_STRING = 8
_ARRAY = 9


@dataclass(frozen=True)
class Typed:
    """A metadata value with its type spelled out as `struct` has it, for keys that want another than the usual one."""

    layout: str
    value: Any


@dataclass(frozen=True)
class Tensor:
    """`shape` in ggml's order; `type` as in "f32", "q4_k"."""

    name: str
    shape: tuple[int, ...]
    type: str = "f32"

    @property
    def n_bytes(self) -> int:
        rows = 1
        for length in self.shape[1:]:
            rows *= length
        return BY_NAME[self.type].row_bytes(self.shape[0]) * rows


@dataclass(frozen=True)
class Gguf:
    """A file to be written."""

    metadata: Mapping[str, Any]
    tensors: tuple[Tensor, ...] = ()
    version: int = 3
    byte_order: str = "little"
    alignment: int = 32
    extra: bytes = field(default=b"", repr=False)

    def header(self) -> bytes:
        """Everything before the tensors' data, padded."""
        parts = [b"GGUF", self._pack("I", self.version), self._pack("QQ", len(self.tensors), len(self.metadata))]
        parts += [self._string(key) + self._value(value) for key, value in self.metadata.items()]
        offset = 0
        for tensor in self.tensors:
            parts.append(self._string(tensor.name) + self._pack("I", len(tensor.shape)))
            parts.append(self._pack(f"{len(tensor.shape)}Q", *tensor.shape))
            parts.append(self._pack("IQ", BY_NAME[tensor.type].id, offset))
            offset += self._padded(tensor.n_bytes)
        head = b"".join(parts) + self.extra
        return head.ljust(self._padded(len(head)), b"\0")

    def write(self, path: Path) -> Path:
        """Write the file; the data are a hole in it, so a big model takes a few kilobytes on disk."""
        head = self.header()
        with path.open("wb") as file:
            file.write(head)
            file.truncate(len(head) + sum(self._padded(tensor.n_bytes) for tensor in self.tensors))
        return path

    def write_split(self, folder: Path, prefix: str, count: int) -> list[Path]:
        """Write shards `PREFIX-00001-of-...` with the tensors dealt out in order; the first has the metadata."""
        share = -(-len(self.tensors) // count)
        paths = []
        for number in range(count):
            split = {
                "split.no": Typed("H", number),
                "split.count": Typed("H", count),
                "split.tensors.count": Typed("i", len(self.tensors)),
            }
            shard = replace(
                self,
                metadata=({**self.metadata} if number == 0 else {}) | split,
                tensors=self.tensors[number * share : (number + 1) * share],
            )
            paths.append(shard.write(folder / f"{prefix}-{number + 1:05}-of-{count:05}.gguf"))
        return paths

    def _padded(self, size: int) -> int:
        return -(-size // self.alignment) * self.alignment

    def _pack(self, layout: str, *values: Any) -> bytes:
        return struct.pack(("<" if self.byte_order == "little" else ">") + layout, *values)

    def _string(self, text: str | bytes) -> bytes:
        raw = text.encode() if isinstance(text, str) else text
        return self._pack("Q", len(raw)) + raw

    def _value(self, value: Any) -> bytes:
        if isinstance(value, (str, bytes)):
            return self._pack("I", _STRING) + self._string(value)
        if isinstance(value, (list, tuple)):
            return self._pack("I", _ARRAY) + self._array(value)
        layout, plain = (value.layout, value.value) if isinstance(value, Typed) else (_layout(value), value)
        return self._pack("I" + layout, _IDS[layout], plain)

    def _array(self, values: Sequence[Any]) -> bytes:
        if values and isinstance(values[0], (str, bytes)):
            return self._pack("IQ", _STRING, len(values)) + b"".join(map(self._string, values))
        layout = _layout(values[0]) if values else "I"
        layout = "i" if layout == "I" else layout
        return self._pack(f"IQ{len(values)}{layout}", _IDS[layout], len(values), *values)


def _layout(value: Any) -> str:
    if isinstance(value, bool):
        return "?"
    if isinstance(value, float):
        return "f"
    if value < 0:
        return "i"
    return "I" if value < 1 << 32 else "Q"
