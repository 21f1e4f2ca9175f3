"""Whether an engine has placed a model on the GPUs that were meant, by what its log says of its devices."""

from __future__ import annotations

from typing import TYPE_CHECKING

from launchdeck.domain.errors import Cause, Failure
from launchdeck.domain.text import Message
from launchdeck.engines.devices.listing import MASKED_BACKENDS, bus_place

if TYPE_CHECKING:
    from launchdeck.domain.deployment import Applied
    from launchdeck.domain.plan import LaunchPlan

_MASKED = tuple(MASKED_BACKENDS.values())


def misplaced(plan: LaunchPlan, applied: Applied) -> Failure | None:
    """Which GPU was taken for another one; None where all are as planned, or nothing is said of where they sit."""
    placed = {device.name: device for device in applied.placed}
    for gpu, name in zip(plan.gpus, plan.device_names, strict=False):
        device = placed.get(name)
        if device is None or bus_place(device.pci_address) is None or bus_place(gpu.pci_address) is None:
            continue
        if bus_place(device.pci_address) != bus_place(gpu.pci_address):
            message = Message(
                "The engine has placed the model on {taken} at {taken_address}, not on {meant} at {meant_address}.",
                taken=device.text,
                taken_address=device.pci_address,
                meant=gpu.name,
                meant_address=gpu.pci_address,
            )
            return Failure(Cause.START_FAILED, message, _MASK_FAILED if name.startswith(_MASKED) else _NOW_KNOWN)
    return None


_NOW_KNOWN = Message("It has been stopped; start it again: the right order is now known.")
_MASK_FAILED = Message(
    "It has been stopped. The driver has not obeyed the choice of the GPU: use an engine built for Vulkan, or choose "
    "the other GPU."
)
