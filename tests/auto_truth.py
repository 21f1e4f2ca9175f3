"""Whether the number of layers that "auto" takes is right, by llama.cpp's own accounting."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from launchdeck.planning.llama.fit import largest_layer_count

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from launchdeck.planning.llama.estimate import Load, MemoryModel
    from truth.engine import Memory
    from truth.oracle import Truth

MARGIN_BYTES = 256 << 20
# Of what the whole model is said to need: next to nothing, parts of it, not quite all of it, and that to the byte.
SHARES = (0.05, 0.3, 0.55, 0.8, 0.97, 1.0)


@dataclass(frozen=True)
class Choice:
    """`short_bytes` is what the fullest GPU lacks with so many layers, negative if it has room; `one_more_short_bytes`
    the same with one layer more, counting the margin as taken; None where there are no more, or no layer was taken.
    """

    free_bytes: tuple[int, ...]
    layers: int
    short_bytes: int | None
    one_more_short_bytes: int | None

    @property
    def is_overcommitted(self) -> bool:
        return self.short_bytes is not None and self.short_bytes > 0

    @property
    def wastes_a_layer(self) -> bool:
        return self.one_more_short_bytes is not None and self.one_more_short_bytes <= 0


def choices(truth: Truth, path: Path, model: MemoryModel, load: Load) -> list[Choice]:
    """What "auto" takes on GPUs with more and more free memory, each with a share of what it would need for all."""
    n = model.layer_count
    whole = [device.total_bytes for device in model.estimate(replace(load, n_gpu_layers=n)).devices]
    frees = [tuple(int(share * needed) + MARGIN_BYTES for needed in whole) for share in SHARES]
    taken = [_taken(model, load, free) for free in frees]
    wanted = {layers for layer in taken for layers in (layer, layer + 1) if 0 < layers <= n}
    answers = truth.memory(path, load, sorted(wanted))
    return [
        Choice(free, layers, _short(answers.get(layers), free, 0), _short(answers.get(layers + 1), free, MARGIN_BYTES))
        for free, layers in zip(frees, taken, strict=True)
    ]


def _taken(model: MemoryModel, load: Load, free: Sequence[int]) -> int:
    devices = tuple(replace(device, free_bytes=size) for device, size in zip(load.devices, free, strict=True))
    layers = largest_layer_count(model, replace(load, devices=devices), MARGIN_BYTES)
    assert layers is not None
    return layers


def _short(said: Memory | None, free: Sequence[int], margin_bytes: int) -> int | None:
    if said is None:
        return None
    return max(gpu.total + margin_bytes - size for gpu, size in zip(said.gpus, free, strict=True))
