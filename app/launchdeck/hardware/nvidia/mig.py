"""NVIDIA GPUs that are divided into slices (MIG): a process gets one slice, and never the whole card's memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from launchdeck.domain.gpu import Gpu
from launchdeck.domain.text import Message
from launchdeck.hardware.nvidia.nvml import Nvml, text

_ENABLED = 1  # NVML_DEVICE_MIG_ENABLE
_PROBLEM = Message(
    "This GPU is divided into slices (MIG) and none can be used: {reason}",
    reason=Message("the driver lists none. Make slices with nvidia-smi mig, or turn MIG off."),
)


def devices(nvml: Nvml, card: Gpu, handle: Any) -> list[tuple[Gpu, Any]]:
    """What programs can be started on in place of this card, each with its handle: itself, or where it is divided, its
    slices; and where none of these can be used, itself, with the reason.

    Raises:
        GpuLostError: the GPU does not answer any more.
    """
    if not _is_divided(nvml, card.uuid, handle):
        return [(card, handle)]
    slices = [(_describe(nvml, card, uuid, each), each) for uuid, each in _slices(nvml, card.uuid, handle)]
    if slices:
        return list(slices)
    return [(replace(card, problem=_PROBLEM), handle)]


def layout(nvml: Nvml, uuid: str, handle: Any) -> tuple[str, ...] | None:
    """The UUIDs of a card's slices; None where it is not divided.

    Raises:
        GpuLostError: the GPU does not answer any more.
    """
    if not _is_divided(nvml, uuid, handle):
        return None
    return tuple(each for each, _ in _slices(nvml, uuid, handle))


def _is_divided(nvml: Nvml, uuid: str, handle: Any) -> bool:
    """The mode as it is now; what it will be after a reset does not matter yet."""
    mode = nvml.ask(uuid, "nvmlDeviceGetMigMode", handle)
    return bool(mode) and mode[0] == _ENABLED


def _slices(nvml: Nvml, uuid: str, handle: Any) -> Iterator[tuple[str, Any]]:
    """Each slice's UUID, by which alone CUDA can be told to use it, and its handle. Places may be empty."""
    for place in range(nvml.ask(uuid, "nvmlDeviceGetMaxMigDeviceCount", handle) or 0):
        each = nvml.ask(uuid, "nvmlDeviceGetMigDeviceHandleByIndex", handle, place)
        own = "" if each is None else text(nvml.ask(uuid, "nvmlDeviceGetUUID", each))
        if own:
            yield own, each


def _describe(nvml: Nvml, card: Gpu, uuid: str, handle: Any) -> Gpu:
    memory = nvml.memory(uuid, handle)
    name = text(nvml.ask(uuid, "nvmlDeviceGetName", handle))
    return replace(
        card,
        uuid=uuid,
        name=name if name and name != card.name else f"{card.name} MIG",
        total_memory_bytes=memory.total_bytes if memory else None,
        slice_of=card.uuid,
    )
