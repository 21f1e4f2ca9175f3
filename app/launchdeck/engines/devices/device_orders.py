"""Which device of an engine sits where on the PCI bus, as its own log has said at earlier starts."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Any, Final

from launchdeck.engines.devices.listing import MASKED_BACKENDS, bus_place, is_out_of_date, listed
from launchdeck.files.json_file import JsonFile
from launchdeck.files.later import LaterFile

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

    from launchdeck.domain.deployment import Deployment
    from launchdeck.domain.plan import EngineInfo

MOST_ENGINES: Final = 200
MOST_DEVICES: Final = 64
ADDRESS_LIMIT: Final = 32
_NAME = re.compile(r"[A-Za-z_]{1,32}\d{1,3}")
_NOT_KEPT = (*MASKED_BACKENDS.values(), "RPC")


class DeviceOrders:
    """Kept for each engine and version, and for the devices that it lists: with other cards the order is another one.

    Only for backends without a mask (Vulkan): the others count what their mask shows.
    """

    def __init__(self, file: Path | None = None) -> None:
        known = None if file is None else JsonFile(file)
        self._orders: dict[str, dict[str, str]] = {} if known is None else _checked(known.read())
        self._file = None if known is None else LaterFile(known)

    def addresses(self, engine: EngineInfo) -> Mapping[str, str]:
        """PCI addresses by the engine's names of its devices, as far as it has told them."""
        return self._orders.get(_key(engine), {}) if self._orders else {}

    def learn(self, deployment: Deployment, here: Collection[str | None] = ()) -> None:
        """What the log of this start has said. `here` are the places (`bus_place`) of the cards that are there now, as
        far as they are known: where cards were moved, what was known of others is not kept.
        """
        told = {
            device.name: device.pci_address
            for device in deployment.applied.placed
            if device.pci_address and _is_kept(device.name, device.pci_address)
        }
        if not told:
            return
        key = _key(deployment.plan.engine)
        known = self._orders.get(key, {})
        is_moved = bool(here) and is_out_of_date(map(bus_place, (known | told).values()), here)
        if not is_moved and all(known.get(name) == address for name, address in told.items()):
            return
        if is_moved or any(name in known and bus_place(known[name]) != bus_place(at) for name, at in told.items()):
            known = {}
        # The last that was said comes first. Two devices at one place may be two drivers of one card.
        rest = {name: address for name, address in known.items() if name not in told}
        merged = dict(list((told | rest).items())[:MOST_DEVICES])
        if merged == self._orders.get(key):
            return
        kept = [(other, order) for other, order in self._orders.items() if other != key]
        self._orders = {**dict(kept[-(MOST_ENGINES - 1) :]), key: merged}
        if self._file:
            self._file.write(self._orders)


def _key(engine: EngineInfo) -> str:
    lines = "\n".join(f"{device.name} {device.text} {device.total_bytes}" for device in listed(engine))
    return f"{engine.id} {engine.version} {hashlib.sha256(lines.encode()).hexdigest()[:16]}"


def _is_kept(name: object, address: object) -> bool:
    if not isinstance(name, str) or not isinstance(address, str) or len(address) > ADDRESS_LIMIT:
        return False
    return bool(_NAME.fullmatch(name)) and not name.startswith(_NOT_KEPT) and bus_place(address) is not None


def _checked(document: dict[str, Any]) -> dict[str, dict[str, str]]:
    """What may stand in the file; an entry that may not is left out."""
    orders = {
        key: {name: address for name, address in order.items() if _is_kept(name, address)}
        for key, order in document.items()
        if isinstance(order, dict) and len(order) <= MOST_DEVICES
    }
    return dict(list(orders.items())[-MOST_ENGINES:])
