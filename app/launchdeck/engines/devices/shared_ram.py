"""GPUs that share the computer's RAM: what a launch takes of it there is not free for the rest of the launch."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from launchdeck.domain.gpu import GpuReading
    from launchdeck.domain.plan import DeviceEstimate, Estimate


def with_host(estimate: Estimate, gpus: Sequence[GpuReading], free_bytes: int | None) -> Estimate:
    """Complete the estimate by what is free of the RAM, `free_bytes`, after what the chosen GPUs take of it. `gpus`
    are those of its first devices, in their order.
    """
    if free_bytes is None:
        left_bytes = None
    else:
        pairs = zip(gpus, estimate.devices, strict=False)  # RPC workers follow
        taken = sum(_of_ram(device, free_bytes) for reading, device in pairs if reading.gpu.integrated)
        left_bytes = max(free_bytes - taken, 0)
    return replace(estimate, host=replace(estimate.host, free_bytes=left_bytes))


def _of_ram(device: DeviceEstimate, free_bytes: int) -> int:
    """What such a GPU can have beyond the free RAM is what was set aside for it, and is used first."""
    set_aside = max((device.free_bytes or 0) - free_bytes, 0)
    return max(device.total_bytes - set_aside, 0)


def naming_promises(estimate: Estimate, readings: Sequence[GpuReading], cpu: GpuReading) -> Estimate:
    """The estimate with what is promised of each device, whose free memory is told without it already."""
    if not any(reading.promises for reading in (*readings, cpu)):
        return estimate
    chosen = len(readings)
    pairs = zip(estimate.devices[:chosen], readings, strict=True)
    devices = (replace(device, promises=reading.promises) for device, reading in pairs)
    host = replace(estimate.host, promises=cpu.promises)
    return replace(estimate, devices=(*devices, *estimate.devices[chosen:]), host=host)
