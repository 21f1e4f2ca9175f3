"""How many numbers a head has, in the layers of a model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from launchdeck.planning.llama.attention import window

if TYPE_CHECKING:
    from launchdeck.planning.llama.hyperparameters import Hyperparameters


@dataclass(frozen=True, slots=True)
class Heads:
    """The lengths of heads of keys and of values that there are, and for keys those of all of a layer's together.

    Source: `n_embd_head_k`, `n_embd_head_v` and `n_embd_k_gqa` of llama.cpp's `llama_hparams`.
    """

    keys: frozenset[int]
    values: frozenset[int]
    key_rows: frozenset[int]

    @classmethod
    def of(cls, hp: Hyperparameters) -> Heads:
        in_window = window(hp).layers[: hp.n_layer]
        lengths = [hp.head_lengths(in_window=sliding) for sliding in in_window]
        rows = (count * key for count, (key, _) in zip(hp.n_head_kv, lengths, strict=False))
        return cls(frozenset(key for key, _ in lengths), frozenset(value for _, value in lengths), frozenset(rows))
