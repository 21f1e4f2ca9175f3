"""Which of the devices that an engine lists each GPU is: one to one, over all GPUs and all devices. Pure.

Rules, in this order: the address on the PCI bus, where the engine has said it; the exact name; the memory in all; that
one GPU and one device are left; and among GPUs that are alike, the free memory where it tells them apart, else their
order on the bus, which is an assumption and told as one. The engine's log proves it at the start: see `device_orders`.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby
from typing import Final

from launchdeck.domain.gpu import Gpu, GpuReading, GpuType
from launchdeck.engines.devices.listing import Listed, bus_place, model_name

# Free memory drifts between the listing and the reading; less than this tells nothing.
TELLING_BYTES: Final = 512 * 1024 * 1024
_SAME_TOTAL: Final = 0.02


class Rule(StrEnum):
    """By what a device was found to be this GPU."""

    ADDRESS = "address"
    NAME = "name"
    TOTAL = "total"
    LAST = "last"
    FREE = "free"
    ORDER = "order"


@dataclass(frozen=True, slots=True)
class Card:
    """A GPU as it is matched. `usable_bytes` is what the driver gives to processes, in all; None where not measured."""

    gpu: Gpu
    free_bytes: int | None
    usable_bytes: int | None
    answers: bool

    @classmethod
    def of(cls, reading: GpuReading) -> Card:
        free, used = reading.sample.free_memory_bytes, reading.sample.used_memory_bytes
        usable = None if free is None or used is None else free + used
        return cls(reading.gpu, free, usable, reading.sample.state.answers)

    def has_total_of(self, device: Listed) -> bool:
        """Whether the engine means the same memory as the driver: all there is, or all but what the driver keeps."""
        if not self.may_be(device):
            return False
        totals = [total for total in (self.gpu.total_memory_bytes, self.usable_bytes) if total]
        if not totals:
            return False
        return min(totals) * (1 - _SAME_TOTAL) <= device.total_bytes <= max(totals) * (1 + _SAME_TOTAL)

    def may_be(self, device: Listed) -> bool:
        """Whether nothing speaks against it where it is the last that is left: a GPU inside a processor is no card."""
        return self.gpu.integrated or not device.is_inside_processor

    def sees_more_than(self, device: Listed) -> bool:
        """Whether the driver tells of memory that the engine does not see: it has a slice, or a limit."""
        total = self.gpu.total_memory_bytes
        if not total or self.gpu.integrated or self.has_total_of(device):
            return False
        return total - device.total_bytes > TELLING_BYTES


@dataclass(frozen=True, slots=True)
class Match:
    """`card` is `device`, by this `rule`."""

    card: Card
    device: Listed
    rule: Rule


def match_devices(cards: Sequence[Card], devices: Sequence[Listed], addresses: Mapping[str, str]) -> dict[str, Match]:
    """By the GPUs' UUIDs, the devices of one backend that they are; those that cannot be told are left out.

    `addresses` are those that the engine has given its devices in earlier starts.
    """
    found: list[Match] = []
    for vendor in (GpuType.NVIDIA, GpuType.AMD):
        pool = _Pool(
            sorted((card for card in cards if card.gpu.gpu_type is vendor), key=_bus_order),
            [device for device in devices if device.vendor is vendor],
        )
        pool.match_addresses(addresses)
        pool.match_names()
        pool.match_totals()
        pool.match_last()
        found += pool.found
    return {match.card.gpu.uuid: match for match in found}


def _bus_order(card: Card) -> tuple[str, int]:
    return bus_place(card.gpu.pci_address) or "", card.gpu.index


class _Pool:
    """The GPUs and devices of one vendor that are still to be matched."""

    def __init__(self, cards: list[Card], devices: list[Listed]) -> None:
        self.cards = cards
        self.devices = devices
        self.found: list[Match] = []

    def match_addresses(self, learned: Mapping[str, str]) -> None:
        """A device at an address where we know no GPU is none of ours."""
        at = {device.name: device.address or bus_place(learned.get(device.name)) for device in self.devices}
        places = [place for place in at.values() if place]
        for device in tuple(self.devices):
            place = at[device.name]
            if place is None or places.count(place) > 1:
                continue
            here = [card for card in self.cards if bus_place(card.gpu.pci_address) == place]
            if len(here) == 1:
                self._take(here[0], device, Rule.ADDRESS)
            elif not here:
                self.devices.remove(device)

    def match_names(self) -> None:
        """Whose name is the same, and has to be told apart further only where several have it."""
        names = {model_name(card.gpu.name) for card in self.cards} - {""}
        for name in sorted(names):
            cards = [card for card in self.cards if model_name(card.gpu.name) == name]
            devices = [device for device in self.devices if model_name(device.text) == name]
            self._match_alike(cards, _without_second_drivers(cards, devices), Rule.NAME)
            if not any(card in self.cards for card in cards):  # else they are the same GPUs by another driver
                self.devices = [device for device in self.devices if device not in devices]

    def match_totals(self) -> None:
        """Whose memory is the same in all, where the names say nothing."""
        for cards, devices in _groups(self.cards, self.devices, lambda card, device: card.has_total_of(device)):
            names = {model_name(card.gpu.name) for card in cards}
            self._match_twins(cards, devices, Rule.TOTAL, are_alike=len(names) == 1)

    def match_last(self) -> None:
        """The only one of each that is left."""
        if len(self.cards) == len(self.devices) == 1 and self.cards[0].may_be(self.devices[0]):
            self._take(self.cards[0], self.devices[0], Rule.LAST)

    def _match_alike(self, cards: list[Card], devices: list[Listed], rule: Rule) -> None:
        """GPUs and devices of one name: told apart by their totals, and then by what is left."""
        if len(cards) == len(devices) == 1:
            self._take(cards[0], devices[0], rule)
            return
        for same_cards, same_devices in _groups(cards, devices, _may_have_total_of):
            self._match_twins(same_cards, same_devices, Rule.TOTAL, are_alike=True)
        cards = [card for card in cards if card in self.cards]
        devices = [device for device in devices if device in self.devices]
        if len(cards) == len(devices) == 1:
            self._take(cards[0], devices[0], Rule.LAST)

    def _match_twins(self, cards: list[Card], devices: list[Listed], rule: Rule, *, are_alike: bool) -> None:
        """What name and total do not tell apart. `are_alike`: the cards have one name."""
        if not cards or not devices:
            return
        if len(cards) != len(devices):  # one that does not answer is not listed either
            answering = [card for card in cards if card.answers]
            cards = answering if len(answering) == len(devices) else cards
        if len(cards) == len(devices) == 1:
            self._take(cards[0], devices[0], rule)
            return
        cards, devices = list(cards), list(devices)
        while (told := _told_by_free(cards, devices)) is not None:
            self._take(*told, Rule.FREE)
            cards.remove(told[0])
            devices.remove(told[1])
        if len(cards) != len(devices) or not (are_alike or len(cards) == 1):
            return
        last = Rule.FREE if len(cards) == 1 else Rule.ORDER
        for card, device in zip(cards, devices, strict=True):
            self._take(card, device, last)

    def _take(self, card: Card, device: Listed, rule: Rule) -> None:
        self.found.append(Match(card, device, rule))
        self.cards.remove(card)
        self.devices.remove(device)


def _may_have_total_of(card: Card, device: Listed) -> bool:
    return not card.gpu.total_memory_bytes or card.has_total_of(device)


def _without_second_drivers(cards: Sequence[Card], devices: Sequence[Listed]) -> list[Listed]:
    """Two Vulkan drivers list each GPU twice, with different notes behind its name: then those of one driver."""
    if len(devices) > len(cards):
        for _, same in groupby(sorted(devices, key=_text_of), _text_of):
            of_one_driver = list(same)
            if len(of_one_driver) == len(cards):
                return of_one_driver
    return list(devices)


def _text_of(device: Listed) -> str:
    return device.text


def _told_by_free(cards: Sequence[Card], devices: Sequence[Listed]) -> tuple[Card, Listed] | None:
    """A GPU and a device that have the same memory free, as no other of them has."""
    if any(card.free_bytes is None for card in cards):
        return None
    for card in cards:
        near = [device for device in devices if _is_near(card, device)]
        if len(near) == 1 and [other for other in cards if _is_near(other, near[0])] == [card]:
            return card, near[0]
    return None


def _is_near(card: Card, device: Listed) -> bool:
    return abs((card.free_bytes or 0) - device.free_bytes) <= TELLING_BYTES


def _groups(
    cards: Sequence[Card], devices: Sequence[Listed], belong: Callable[[Card, Listed], bool]
) -> list[tuple[list[Card], list[Listed]]]:
    """The cards and devices that belong together, directly or by one that belongs to both."""
    groups: list[tuple[list[Card], list[Listed]]] = []
    for card in cards:
        own = [device for device in devices if belong(card, device)]
        joined = [group for group in groups if not _apart(group[1], own)]
        groups = [group for group in groups if group not in joined]
        merged = _unique([*(one for group in joined for one in group[0]), card])
        groups.append((merged, [device for device in devices if device in own or _is_in(device, joined)]))
    return groups


def _apart(some: Iterable[Hashable], others: Iterable[Hashable]) -> bool:
    return set(some).isdisjoint(others)


def _is_in(device: Listed, groups: Sequence[tuple[list[Card], list[Listed]]]) -> bool:
    return any(device in devices for _, devices in groups)


def _unique(cards: Iterable[Card]) -> list[Card]:
    return sorted(set(cards), key=_bus_order)
