"""How far a model reaches into this machine: a first answer for a whole library, from its size alone."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from launchdeck.domain.gpu import Inventory

# Context, compute buffers and the driver want their part besides the weights.
_BESIDES = 1.1


class Reach(IntEnum):
    """From the quickest place to none."""

    ONE_GPU = 0
    ALL_GPUS = 1
    WITH_RAM = 2
    TOO_BIG = 3


def reach(size_bytes: int, inventory: Inventory) -> Reach:
    """Tell where weights of this size have room if nothing else runs. A machine without GPUs has its RAM alone; an
    integrated GPU has no more than that, and perhaps a part that was set aside.
    """
    gpus = [reading.gpu.total_memory_bytes or 0 for reading in inventory.gpus]
    ram = inventory.cpu.gpu.total_memory_bytes or 0
    shared = [min(size, ram) for size, reading in zip(gpus, inventory.gpus, strict=True) if reading.gpu.integrated]
    needed = size_bytes * _BESIDES
    if needed <= max(gpus, default=0):
        return Reach.ONE_GPU
    if needed <= sum(gpus):
        return Reach.ALL_GPUS
    return Reach.WITH_RAM if needed <= sum(gpus) + ram - sum(shared) else Reach.TOO_BIG
