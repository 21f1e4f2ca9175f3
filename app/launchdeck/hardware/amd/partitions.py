"""AMD Instinct cards that appear as several GPUs (DPX, QPX, CPX): their memory is one and the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import Final

from launchdeck.hardware.memory import Memory

_NEARLY: Final = 0.9


def package(address: str) -> str:
    """The address of the card that a GPU is a part of. The library tells the parts apart by the function, the last
    digit, though no such functions are on the bus.
    """
    return f"{address[:-1]}0"


def siblings(addresses: Iterable[str | None], cards: Collection[str]) -> Mapping[str, int]:
    """How many GPUs each of these packages has. `cards` are those on the bus: two of them are two cards, though their
    addresses differ in the function alone.
    """
    counts = Counter(package(address) for address in addresses if address is not None)
    on_bus = Counter(map(package, cards))
    return {each: 1 if on_bus[each] > 1 else count for each, count in counts.items()}


def sharers(told: Memory | None, siblings: int, whole: Memory | None) -> int:
    """How many of a package's `siblings` share the memory that the library has `told` of one of them. It tells of each
    the memory of the `whole` card; one that already tells a share, by what the kernel says of the card, is believed.
    """
    if told is not None and whole is not None and told.total_bytes < whole.total_bytes * _NEARLY:
        return 1
    return siblings


def share(told: Memory, sharers: int) -> Memory:
    """What one of them may have. The kernel lets each have an equal share, however the memory itself is divided (NPS1
    to NPS8). So nothing is counted twice, whichever of them are chosen.
    """
    return Memory(told.total_bytes // sharers, told.used_bytes // sharers, told.free_bytes // sharers)
