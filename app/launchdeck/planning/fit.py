"""The largest number of layers that fits."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from launchdeck.planning.estimate import Load, MemoryModel


def largest_layer_count(model: MemoryModel, load: Load, margin_bytes: int) -> int | None:
    """How many layers fit on `load.devices` with `margin_bytes` left free on each; 0 if not even one does.

    None where the free memory of a device is not known. What a device needs does not always grow with the number of
    layers (with all of them there is nothing to borrow from the host), so every number is tried, from the top.
    """
    if any(device.free_bytes is None for device in load.devices):
        return None
    if not load.devices:
        return 0
    return next((layers for layers in range(model.layer_count, 0, -1) if _fits(model, load, layers, margin_bytes)), 0)


def _fits(model: MemoryModel, load: Load, layers: int, margin_bytes: int) -> bool:
    estimate = model.estimate(replace(load, n_gpu_layers=layers))
    return all(
        device.free_bytes is not None and device.total_bytes + margin_bytes <= device.free_bytes
        for device in estimate.devices
    )
