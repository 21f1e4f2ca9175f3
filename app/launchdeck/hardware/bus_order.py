"""The order in which drivers count GPUs: that of the PCI bus."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from launchdeck.domain.gpu import Gpu


def by_bus(gpus: Sequence[Gpu], places: Mapping[str, int] | None = None) -> tuple[Gpu, ...]:
    """These GPUs of one vendor in the order of the PCI bus. One without an address comes where its driver counts it:
    `places` tells by its key, or else its own name does; where nobody says, it keeps its place in our list.
    """
    ordered = sorted((gpu for gpu in gpus if gpu.pci_address is not None), key=lambda gpu: gpu.pci_address or "")
    listed = list(dict.fromkeys(card(gpu) for gpu in sorted(gpus, key=lambda gpu: gpu.index)))
    placed = []
    for gpu in gpus:
        if gpu.pci_address is None:
            told = (places or {}).get(gpu.key, counted_place(gpu))
            placed.append((listed.index(card(gpu)) if told is None else told, gpu.uuid, gpu))
    for place, _, gpu in sorted(placed, key=lambda each: each[:2]):
        before = list(dict.fromkeys(map(card, ordered)))[:place]
        ordered.insert(sum(card(one) in before for one in ordered), gpu)
    return tuple(ordered)


def card(gpu: Gpu) -> str:
    """The UUID of the card that this GPU is, or is a slice of: a driver counts cards."""
    return gpu.slice_of or gpu.uuid


def unidentified(gpu_type: str, place: int | str) -> str:
    """What stands for the UUID of a GPU of which nothing is known but its place in its driver's count."""
    return f"{gpu_type}-{place}"


def counted_place(gpu: Gpu) -> int | None:
    """That place; None: more is known of this GPU."""
    place = gpu.uuid.removeprefix(unidentified(gpu.gpu_type, ""))
    return int(place) if gpu.pci_address is None and place.isdecimal() and place != gpu.uuid else None
