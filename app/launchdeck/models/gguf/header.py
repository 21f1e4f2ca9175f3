"""What a GGUF model's files say about themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from launchdeck.models.gguf.ggml import GgmlType

ByteOrder = Literal["little", "big"]
Value = int | float | bool | str | tuple[int | float | bool, ...]

_BLOCK_LIMIT = 512  # LLAMA_MAX_LAYERS of llama.cpp


@dataclass(frozen=True, slots=True)
class GgufTensor:
    """One tensor. `shape` is in ggml's order: the length of a row comes first. `shard` counts the files from 0."""

    name: str
    shape: tuple[int, ...]
    type: GgmlType
    n_bytes: int
    shard: int


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """What a model's files say about themselves. `files` are all shards in order, `size_bytes` their sum.

    Strings over 64 KiB, arrays of strings and arrays of more than 4096 numbers are not kept; `array_lengths` has the
    length of every array (`array_lengths["tokenizer.ggml.tokens"]` is the size of the vocabulary).
    """

    path: Path
    files: tuple[Path, ...]
    size_bytes: int
    version: int
    byte_order: ByteOrder
    metadata: Mapping[str, Value]
    array_lengths: Mapping[str, int]
    tensors: tuple[GgufTensor, ...]

    @property
    def architecture(self) -> str | None:
        value = self.metadata.get("general.architecture")
        return value if isinstance(value, str) else None

    @property
    def block_count(self) -> int | None:
        """How many layers are repeated, None where the header does not say so or says something impossible."""
        count = self.integer(f"{self.architecture}.block_count")
        return count if count is not None and 0 < count <= _BLOCK_LIMIT else None

    def integer(self, key: str) -> int | None:
        """The whole number under this key, None where it is missing or something else."""
        value = self.metadata.get(key)
        return value if isinstance(value, int) else None
