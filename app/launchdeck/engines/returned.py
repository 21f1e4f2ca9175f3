"""Memory that is free again, though the latest reading still counts it: that of processes which have ended since."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

    from launchdeck.domain.gpu import GpuReading, Inventory


def without_processes(inventory: Inventory, pids: Collection[int]) -> Inventory:
    """Make the inventory as if these processes had been gone when it was read; the same if they hold nothing."""
    if not any(process.pid in pids for reading in inventory.gpus for process in reading.sample.processes):
        return inventory
    return replace(inventory, gpus=tuple(_without(reading, pids) for reading in inventory.gpus))


def _without(reading: GpuReading, pids: Collection[int]) -> GpuReading:
    sample = reading.sample
    gone = [process.used_memory_bytes or 0 for process in sample.processes if process.pid in pids]
    if sample.free_memory_bytes is None or sample.used_memory_bytes is None or not gone:
        return reading
    back_bytes = min(sum(gone), sample.used_memory_bytes)
    left = replace(
        sample,
        used_memory_bytes=sample.used_memory_bytes - back_bytes,
        free_memory_bytes=sample.free_memory_bytes + back_bytes,
        processes=tuple(process for process in sample.processes if process.pid not in pids),
    )
    return replace(reading, sample=left)
