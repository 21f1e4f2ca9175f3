"""AMD Instinct cards that appear as several GPUs (DPX, QPX, CPX): their memory is one and the same."""

from __future__ import annotations

from typing import Final

from launchdeck.hardware.memory import Memory

_NEARLY: Final = 0.9


def package(address: str) -> str:
    """The address of the card that a GPU is a part of. The library tells the parts apart by the function, the last
    digit, though no such functions are on the bus.
    """
    return f"{address[:-1]}0"


def share(told: Memory, siblings: int, whole: Memory | None) -> Memory:
    """What one of the `siblings` of a card may have. The library tells of each of them the memory of the `whole` card;
    the kernel lets each have an equal share of it, however the memory itself is divided (NPS1 to NPS8). So nothing is
    counted twice, whichever of them are chosen. One that already tells a share, by what the kernel says of the card, is
    believed.
    """
    if whole is not None and told.total_bytes < whole.total_bytes * _NEARLY:
        return told
    return Memory(told.total_bytes // siblings, told.used_bytes // siblings, told.free_bytes // siblings)
