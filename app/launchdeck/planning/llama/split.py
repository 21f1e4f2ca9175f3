"""Which layers llama.cpp puts on which device."""

from __future__ import annotations

import struct
from functools import lru_cache
from itertools import accumulate
from math import ceil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_ROUNDING = 2**-22
_FLOAT32 = struct.Struct("f")


def layer_ranges(n_gpu_layers: int, layer_count: int, split: Sequence[float]) -> tuple[tuple[int, int], ...]:
    """Give every device's first layer and the one after its last; what comes before the first stays on the host.

    Layers count from 0; the last of `layer_count` is the output layer, and it goes to the devices first. Layer i of n
    goes to the first device whose share of the split, summed up to it, is greater than i/n: in single precision, as
    `load_tensors` of llama.cpp has it (`upper_bound` over the normalised `tensor_split`).
    """
    return _layer_ranges(min(n_gpu_layers, layer_count), layer_count, tuple(split))


@lru_cache(maxsize=4096)
def _layer_ranges(n: int, layer_count: int, split: tuple[float, ...]) -> tuple[tuple[int, int], ...]:
    first = layer_count - n
    if len(split) == 1:
        return ((first, layer_count),)
    ends = [first + _count_below(limit, n) for limit in _limits(split)]
    return tuple(zip((first, *ends), ends, strict=False))


@lru_cache(maxsize=64)
def _limits(split: tuple[float, ...]) -> tuple[float, ...]:
    """Where each device's share ends, from 0 to 1; the same for every number of layers."""
    sums = list(accumulate(map(_float32, split), lambda total, share: _float32(total + share)))
    return tuple(_float32(total / sums[-1]) for total in sums)


def _count_below(limit: float, n: int) -> int:
    """How many of 0/n, 1/n, ... (n-1)/n are less than the limit; only where it is near one of them, rounding counts."""
    exact = limit * n
    if abs(exact - round(exact)) > n * _ROUNDING:
        return ceil(exact)
    count = min(max(int(limit * n) - 1, 0), n)
    while count < n and _float32(count / n) < limit:
        count += 1
    return count


def _float32(value: float) -> float:
    """The number rounded to single precision."""
    return float(_FLOAT32.unpack(_FLOAT32.pack(value))[0])
