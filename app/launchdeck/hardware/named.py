"""Which GPUs are meant where somebody names them: by their place in our list, their UUID or their PCI address."""

from __future__ import annotations

from typing import TYPE_CHECKING

from launchdeck.domain.errors import Cause, LaunchdeckError
from launchdeck.domain.text import Message
from launchdeck.hardware.pci import normalise_address

if TYPE_CHECKING:
    from collections.abc import Sequence

    from launchdeck.domain.gpu import Gpu, Inventory


def uuids_of(names: Sequence[str], inventory: Inventory) -> tuple[str, ...]:
    """What identifies the GPUs with these names. One that nothing is called by stays as it was typed: the plan refuses
    it by that name.

    Raises:
        LaunchdeckError: an address that several GPUs share.
    """
    gpus = [reading.gpu for reading in inventory.gpus]
    return tuple(_uuid_of(name.strip(), gpus) for name in names)


def _uuid_of(name: str, gpus: Sequence[Gpu]) -> str:
    if name.isdecimal() and name.isascii():
        return next((gpu.uuid for gpu in gpus if str(gpu.index) == name), name)
    same = [gpu.uuid for gpu in gpus if gpu.uuid.casefold() == name.casefold()]
    if same:
        return same[0]
    address = normalise_address(name)
    there = [gpu.uuid for gpu in gpus if address is not None and normalise_address(gpu.pci_address or "") == address]
    if len(there) > 1:
        raise LaunchdeckError.of(
            Cause.BAD_GPU,
            Message("{count} GPUs are at {name}.", count=len(there), name=name),
            Message("Name the one that is meant by its UUID or its place; 'launchdeck gpus --json' has both."),
        )
    return there[0] if there else name
