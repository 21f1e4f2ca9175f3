"""Twins told apart by how much memory is free on them: as the engine has listed it, and as the driver tells. Pure.

The two never mean the same number: the engine's own context is missing in one of them, what the driver keeps for itself
in the other. But that is the same for all twins, so what counts are the distances among them.
"""

from __future__ import annotations

from itertools import combinations, islice
from statistics import fmean
from typing import TYPE_CHECKING, Final, TypeVar

from launchdeck.engines.devices.card import TELLING_BYTES, Card
from launchdeck.engines.devices.listing import Listed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

# The engine's context and what the driver keeps are no more than this together.
_MOST_OFF_BYTES: Final = 2 * TELLING_BYTES
_MOST_WAYS: Final = 2000

_T = TypeVar("_T")


def pairs_by_free(cards: Sequence[Card], devices: Sequence[Listed]) -> list[tuple[list[Card], list[Listed]]]:
    """Cards and devices that have about the same free, where they can be brought together in one way alone; else
    nothing. Cards of which it is not known (asleep) are left out, and what they may be with them.
    """
    known = [card for card in cards if card.free_bytes is not None]
    ours, theirs = _levels(known, _free_of_card), _levels(devices, _free_of_device)
    if len(devices) >= len(cards):
        way = _only_way(
            [[_free_of_card(card) for card in level] for level in ours],
            [[_free_of_device(device) for device in level] for level in theirs],
            are_all=len(known) == len(cards) == len(devices),
        )
        return [(level, theirs[place]) for level, place in zip(ours, way, strict=False)]
    if len(known) < len(cards):  # nobody knows which of those that sleep are listed
        return []
    way = _only_way(
        [[_free_of_device(device) for device in level] for level in theirs],
        [[_free_of_card(card) for card in level] for level in ours],
        are_all=False,
    )
    return [(ours[place], level) for level, place in zip(theirs, way, strict=False)]


def _free_of_card(card: Card) -> int:
    return card.free_bytes or 0


def _free_of_device(device: Listed) -> int:
    return device.free_bytes


def _levels(items: Sequence[_T], free_of: Callable[[_T], int]) -> list[list[_T]]:
    """Together those that free memory does not tell apart, the fullest first; each in the order of `items`."""
    levels: list[list[_T]] = []
    before_bytes: int | None = None
    for item in sorted(items, key=free_of):
        if before_bytes is None or free_of(item) - before_bytes > TELLING_BYTES:
            levels.append([])
        levels[-1].append(item)
        before_bytes = free_of(item)
    return [[item for item in items if item in level] for level in levels]


def _only_way(few: Sequence[Sequence[int]], many: Sequence[Sequence[int]], *, are_all: bool) -> tuple[int, ...]:
    """The places in `many` of the levels in `few`, if there is one way alone to place them; else nothing.

    The offset is the same for all of them. Where these are all there are it may be any; else one that can be.
    """
    ways = list(islice(combinations(range(len(many)), len(few)), _MOST_WAYS + 1)) if few else []
    if len(ways) > _MOST_WAYS:
        return ()
    fitting = [way for way in ways if _fits(few, [many[place] for place in way], are_all=are_all)]
    return fitting[0] if len(fitting) == 1 else ()


def _fits(few: Sequence[Sequence[int]], many: Sequence[Sequence[int]], *, are_all: bool) -> bool:
    if any(len(some) > len(others) for some, others in zip(few, many, strict=True)):
        return False
    offsets = [fmean(some) - fmean(others) for some, others in zip(few, many, strict=True)]
    if max(offsets) - min(offsets) > TELLING_BYTES:
        return False
    return are_all or max(map(abs, offsets)) <= _MOST_OFF_BYTES
