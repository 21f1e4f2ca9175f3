"""Memory that is free, though the latest reading still counts it: that of processes which have ended since, or are to
end before the launch that is planned.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

    from launchdeck.domain.gpu import GpuReading, Inventory


def without_processes(inventory: Inventory, pids: Collection[int], ram_bytes: int = 0) -> Inventory:
    """Make the inventory as if these processes had been gone when it was read; the same if they hold nothing.

    `ram_bytes` is what is theirs alone of RAM. (GPUs that share it have an account of their own.)
    """
    if ram_bytes:
        inventory = replace(inventory, cpu=_with_back(inventory.cpu, ram_bytes))
    if not any(process.pid in pids for reading in inventory.gpus for process in reading.sample.processes):
        return inventory
    return replace(inventory, gpus=tuple(_without(reading, pids) for reading in inventory.gpus))


def _without(reading: GpuReading, pids: Collection[int]) -> GpuReading:
    sample = reading.sample
    gone = [process.used_memory_bytes or 0 for process in sample.processes if process.pid in pids]
    if sample.free_memory_bytes is None or sample.used_memory_bytes is None or not gone:
        return reading
    left = tuple(process for process in sample.processes if process.pid not in pids)
    return _with_back(replace(reading, sample=replace(sample, processes=left)), sum(gone))


def _with_back(reading: GpuReading, size_bytes: int) -> GpuReading:
    sample = reading.sample
    if sample.free_memory_bytes is None or sample.used_memory_bytes is None:
        return reading
    back_bytes = min(size_bytes, sample.used_memory_bytes)
    used_bytes, free_bytes = sample.used_memory_bytes - back_bytes, sample.free_memory_bytes + back_bytes
    return replace(reading, sample=replace(sample, used_memory_bytes=used_bytes, free_memory_bytes=free_bytes))
