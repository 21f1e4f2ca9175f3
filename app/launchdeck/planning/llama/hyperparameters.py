"""A model's hyperparameters as llama.cpp reads them, defaults included."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from launchdeck.models.architectures.table import ARCHITECTURES, traits_of

if TYPE_CHECKING:
    from launchdeck.models.architectures.traits import Traits
    from launchdeck.models.gguf.header import GgufHeader, Value


@dataclass(frozen=True)
class Hyperparameters:
    """Named after llama.cpp's `llama_hparams`, whose `load_hparams` is the source."""

    header: GgufHeader

    @cached_property
    def architecture(self) -> str:
        return self.header.architecture or ""

    @cached_property
    def traits(self) -> Traits:
        """What llama.cpp has written down for the architecture, and no header says."""
        return traits_of(self.architecture)

    @property
    def is_known(self) -> bool:
        """Whether the architecture is one that the estimate follows."""
        return self.architecture in ARCHITECTURES

    @cached_property
    def n_layer_all(self) -> int:
        """All layers, at the end with those that only predict further tokens (nextn), or that route."""
        return (self.header.block_count or 0) + self.traits.router_layer

    @cached_property
    def n_layer(self) -> int:
        return max((self.header.block_count or 0) - self.integer("nextn_predict_layers"), 0)

    @cached_property
    def n_embd(self) -> int:
        return self.integer("embedding_length")

    @cached_property
    def n_vocab(self) -> int:
        return self.header.array_lengths.get("tokenizer.ggml.tokens", 0) or self.integer("vocab_size")

    @cached_property
    def n_head(self) -> tuple[int, ...]:
        return self._routed(self.per_layer("attention.head_count"), 1)

    @cached_property
    def n_head_kv(self) -> tuple[int, ...]:
        return self._routed(self.per_layer("attention.head_count_kv", self.n_head), 1)

    @cached_property
    def n_ff(self) -> tuple[int, ...]:
        return self._routed(self.per_layer("feed_forward_length"), 0)

    def _routed(self, numbers: tuple[int, ...], of_router: int) -> tuple[int, ...]:
        """With that of the layer which routes, if there is one: no header counts it."""
        return (*numbers[:-1], of_router) if self.traits.router_layer else numbers

    @cached_property
    def key_length(self) -> int:
        return self.integer("attention.key_length", self._head_length)

    @cached_property
    def value_length(self) -> int:
        return self.integer("attention.value_length", self._head_length)

    def head_lengths(self, *, in_window: bool) -> tuple[int, int]:
        """Count the numbers of a head's key and value, in layers with a sliding window or in those without."""
        if not in_window:
            return self.key_length, self.value_length
        key = self.integer("attention.key_length_swa", self.key_length)
        return key, self.integer("attention.value_length_swa", self.value_length)

    @cached_property
    def _head_length(self) -> int:
        return self.n_embd // self.n_head[0] if self.n_head and self.n_head[0] else 0

    def get(self, key: str) -> Value | None:
        """Read the value under `ARCHITECTURE.key`."""
        return self.header.metadata.get(f"{self.architecture}.{key}")

    def integer(self, key: str, default: int = 0) -> int:
        """Read the number under this key; the default for none and for one below zero, which llama.cpp refuses, too."""
        value = self.get(key)
        return int(value) if isinstance(value, int) and value >= 0 else default

    def per_layer(self, key: str, default: tuple[int, ...] = ()) -> tuple[int, ...]:
        """Read one number for each layer, from an array or from one that all share. Missing layers have 0."""
        value = self.get(key)
        if isinstance(value, int):
            return (max(int(value), 0),) * self.n_layer_all
        numbers = tuple(map(_count, value)) if isinstance(value, tuple) else default
        return (numbers + (0,) * self.n_layer_all)[: self.n_layer_all]


def _count(number: float) -> int:
    """What is no whole number from zero on counts as none."""
    return int(number) if isinstance(number, int) and number > 0 else 0
