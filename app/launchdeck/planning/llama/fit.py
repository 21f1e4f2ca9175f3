"""What fits: the most layers, the fewest experts in RAM.

What a device needs does not always grow with the number of layers (with all of them there is nothing to offload from
the host), so every number is tried, and none is passed over by halving.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from launchdeck.planning.llama.estimate import Load, MemoryModel


def largest_layer_count(model: MemoryModel, load: Load, margin_bytes: int) -> int | None:
    """Find how many layers fit on `load.devices` with `margin_bytes` left free on each; 0 if not even one does.

    None where the free memory of a device is not known.
    """
    rooms = _rooms(load, margin_bytes)
    if rooms is None:
        return None
    overfull: int | None = 0
    for layers in range(model.layer_count if rooms else 0, 0, -1):
        overfull = model.overfull_device(load, layers, rooms, overfull or 0)
        if overfull is None:
            return layers
    return 0


def fewest_experts_in_ram(model: MemoryModel, load: Load, margin_bytes: int) -> int | None:
    """Find of how many first blocks the experts have to stay in RAM for all layers to fit; None if that does not help,
    or where the free memory of a device is not known.
    """
    rooms = _rooms(load, margin_bytes)
    if not rooms:
        return None
    overfull: int | None = 0
    for n_cpu_moe in range(model.layer_count):
        tried = replace(load, n_cpu_moe=n_cpu_moe)
        overfull = model.overfull_device(tried, model.layer_count, rooms, overfull or 0)
        if overfull is None:
            return n_cpu_moe
    return None


def _rooms(load: Load, margin_bytes: int) -> list[int] | None:
    free = [device.free_bytes for device in load.devices]
    known = [size - margin_bytes for size in free if size is not None]
    return known if len(known) == len(free) else None
