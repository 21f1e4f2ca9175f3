"""Which of the devices that an engine lists each GPU is: one to one, over all GPUs and all devices. Pure.

Rules, in this order: the address on the PCI bus, where the engine has said it; the exact name; the memory in all; that
one GPU and one device are left; and among GPUs that are alike, the free memory where it tells them apart, else their
order on the bus, which is an assumption and told as one. The engine's log proves it at the start: see `device_orders`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from launchdeck.domain.gpu import GpuType
from launchdeck.engines.devices.card import Card
from launchdeck.engines.devices.free_ranks import pairs_by_free
from launchdeck.engines.devices.listing import Listed, bus_place, is_out_of_date, model_name


class Rule(StrEnum):
    """By what a device was found to be this GPU."""

    ADDRESS = "address"
    NAME = "name"
    TOTAL = "total"
    LAST = "last"
    FREE = "free"
    ORDER = "order"


@dataclass(frozen=True, slots=True)
class Match:
    """`card` is `device`, by this `rule`."""

    card: Card
    device: Listed
    rule: Rule


def match_devices(cards: Sequence[Card], devices: Sequence[Listed], addresses: Mapping[str, str]) -> dict[str, Match]:
    """By the GPUs' UUIDs, the devices of one backend that they are; those that cannot be told are left out.

    `addresses` are those that the engine has given its devices in earlier starts. They are believed as far as nothing
    that is seen now speaks against them: cards are moved.
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
        self._are_more = len(devices) > len(cards)  # so some may be the same GPUs by another driver

    def match_addresses(self, learned: Mapping[str, str]) -> None:
        """What the listing itself says goes first: a device that it has at an address where we know no GPU is none of
        ours. What was learned excludes no device.
        """
        is_there_all = all(card.gpu.pci_address for card in self.cards)  # else it may be the one without an address
        self._match_places({device.name: device.address for device in self.devices}, drops_others=is_there_all)
        places = {name: bus_place(address) for name, address in learned.items()}
        self._match_places(_believable(self.cards, self.devices, places), drops_others=False)

    def _match_places(self, places: Mapping[str, str | None], *, drops_others: bool) -> None:
        """`places` are by the devices' names; of several at one place (each driver lists all cards) the first is taken.
        `drops_others`: a device at none of the cards' places is none of them.
        """
        mine = {device.name: device for device in self.devices}
        for name, place in places.items():
            device = mine.get(name)
            if device is None or place is None:
                continue
            here = [card for card in self.cards if bus_place(card.gpu.pci_address) == place]
            is_taken = any(bus_place(match.card.gpu.pci_address) == place for match in self.found)
            if len(here) == 1:
                self._take(here[0], device, Rule.ADDRESS)
            elif not here and (drops_others or (is_taken and self._are_more)):
                self.devices.remove(device)

    def match_names(self) -> None:
        """Whose name is the same, and has to be told apart further only where several have it."""
        names = {model_name(card.gpu.name) for card in self.cards} - {""}
        for name in sorted(names):
            cards = [card for card in self.cards if model_name(card.gpu.name) == name]
            devices = [device for device in self.devices if model_name(device.text) == name]
            self._match_alike(cards, _of_one_driver(cards, devices), Rule.NAME)
            self._drop_others(cards, devices)

    def match_totals(self) -> None:
        """Whose memory is the same in all, where the names say nothing."""
        for cards, devices in _groups(self.cards, self.devices, lambda card, device: card.has_total_of(device)):
            names = {model_name(card.gpu.name) for card in cards}
            self._match_twins(cards, _of_one_driver(cards, devices), Rule.TOTAL, are_alike=len(names) == 1)
            self._drop_others(cards, devices)

    def match_last(self) -> None:
        """The only one of each that is left."""
        if len(self.cards) == len(self.devices) == 1 and self.cards[0].may_be(self.devices[0]):
            self._take(self.cards[0], self.devices[0], Rule.LAST)

    def _drop_others(self, cards: Sequence[Card], devices: Sequence[Listed]) -> None:
        """Where all these cards are found, the rest of their devices are the same GPUs by another driver."""
        if not any(card in self.cards for card in cards):
            self.devices = [device for device in self.devices if device not in devices]

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
        are_twice = self._are_more and _are_of_two_drivers(cards, devices)
        for same_cards, same_devices in pairs_by_free(cards, devices):
            if len(same_cards) < len(cards):  # else all have the same free, and it tells nothing
                self._take_in_order(same_cards, same_devices, are_alike=are_alike, are_twice=are_twice)
                devices = [d for d in devices if d not in same_devices or same_cards[0] in self.cards]
        left_cards = [card for card in cards if card in self.cards]
        self._take_in_order(left_cards, devices, are_alike=are_alike, are_twice=are_twice)

    def _take_in_order(
        self, cards: Sequence[Card], devices: Sequence[Listed], *, are_alike: bool, are_twice: bool
    ) -> None:
        """Told by free memory where one is left; else assumed, of cards that are alike. `are_twice`: by two drivers."""
        if len(cards) == len(devices) == 1:
            self._take(cards[0], devices[0], Rule.FREE)
        elif are_alike and (len(cards) == len(devices) or (are_twice and len(cards) < len(devices))):
            for card, device in zip(cards, devices, strict=False):
                self._take(card, device, Rule.ORDER)

    def _take(self, card: Card, device: Listed, rule: Rule) -> None:
        self.found.append(Match(card, device, rule))
        self.cards.remove(card)
        self.devices.remove(device)


def _believable(
    cards: Sequence[Card], devices: Sequence[Listed], places: Mapping[str, str | None]
) -> Mapping[str, str | None]:
    """What was learned of these devices' places; nothing where what is seen speaks against some of it."""
    mine = {name: place for name, place in places.items() if any(device.name == name for device in devices)}
    at = {bus_place(card.gpu.pci_address): card for card in cards if card.gpu.pci_address}
    named = {device.name: model_name(device.text) for device in devices}
    wrong = (
        place in at and _are_other_names(cards, list(named.values()), at[place], named[name])
        for name, place in mine.items()
    )
    return {} if is_out_of_date(mine.values(), at) or any(wrong) else mine


def _are_other_names(cards: Sequence[Card], names: Sequence[str], card: Card, name: str) -> bool:
    """Whether the card and the device are not of one name, and one of them has its name on the other side."""
    own = model_name(card.gpu.name)
    return own != name and ((own != "" and own in names) or (name != "" and name in map(_name_of, cards)))


def _name_of(card: Card) -> str:
    return model_name(card.gpu.name)


def _may_have_total_of(card: Card, device: Listed) -> bool:
    return not card.gpu.total_memory_bytes or card.has_total_of(device)


def _of_one_driver(cards: Sequence[Card], devices: Sequence[Listed]) -> list[Listed]:
    """Two Vulkan drivers list each GPU twice, with different notes behind its name: then those of the first driver
    that lists as many as there are.
    """
    if len(devices) > len(cards):
        for text in dict.fromkeys(device.text for device in devices):
            of_one_driver = [device for device in devices if device.text == text]
            if len(of_one_driver) == len(cards):
                return of_one_driver
    return list(devices)


def _are_of_two_drivers(cards: Sequence[Card], devices: Sequence[Listed]) -> bool:
    """Whether these are the cards several times, by drivers that leave no note of themselves."""
    if not cards or len(devices) <= len(cards) or len(devices) % len(cards):
        return False
    return not any(device.has_note for device in devices)


def _groups(
    cards: Sequence[Card], devices: Sequence[Listed], belong: Callable[[Card, Listed], bool]
) -> list[tuple[list[Card], list[Listed]]]:
    """The cards and devices that belong together, directly or by one that belongs to both."""
    groups = []
    left = list(cards)
    while left:
        ours, theirs = left[:1], list[Listed]()
        while any(belong(card, device) for card in ours for device in devices if device not in theirs):
            theirs = [device for device in devices if any(belong(card, device) for card in ours)]
            ours = [card for card in left if card in ours or any(belong(card, device) for device in theirs)]
        groups.append((ours, theirs))
        left = [card for card in left if card not in ours]
    return groups
