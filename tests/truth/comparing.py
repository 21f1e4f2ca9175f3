"""Our estimate as the engine's account is written, so that the two can be compared."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from truth.engine import Memory, Sizes

if TYPE_CHECKING:
    from launchdeck.domain.plan import DeviceEstimate
    from launchdeck.planning.llama.estimate import Load, MemoryModel


def sizes(estimate: DeviceEstimate) -> Sizes:
    """Return one device's share."""
    return Sizes(estimate.weights_bytes, estimate.kv_bytes, estimate.compute_bytes)


def estimated(model: MemoryModel, load: Load, layers: int) -> Memory:
    """Return what we say with this many layers on the GPUs."""
    estimate = model.estimate(replace(load, n_gpu_layers=layers))
    return Memory(tuple(sizes(device) for device in estimate.devices), sizes(estimate.host))


def without_compute(memory: Memory) -> Memory:
    """Return the same with no compute buffers, where these are not known to the byte."""
    return Memory(tuple(replace(gpu, compute=0) for gpu in memory.gpus), replace(memory.host, compute=0))
