"""The graphics cards on the PCI bus as Linux's sysfs shows them: no driver is asked, and no card wakes up."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from launchdeck.domain.text import Message

NVIDIA_VENDOR = 0x10DE
AMD_VENDOR = 0x1002

_ADDRESS = re.compile(r"(?:([0-9a-f]{1,8}):)?([0-9a-f]{1,2}):([0-9a-f]{1,2})\.([0-7])", re.IGNORECASE)
_DISPLAY_CLASS = 0x03
_ACCELERATOR_CLASS = 0x12  # where AMD's Instinct cards are
_DRIVERS = {NVIDIA_VENDOR: "nvidia", AMD_VENDOR: "amdgpu"}
# Drivers that hold a card for somebody else, mostly a virtual machine.
_RESERVING = frozenset({"vfio-pci", "pci-stub", "pciback", "xen-pciback"})


def normalise_address(address: str) -> str | None:
    """`00000000:0A:00.0` as NVML writes it -> `0000:0a:00.0` as Linux does; None if it is no PCI address."""
    match = _ADDRESS.fullmatch(address.strip())
    if match is None:
        return None
    domain, bus, device, function = (int(part or "0", 16) for part in match.groups())
    return f"{domain:04x}:{bus:02x}:{device:02x}.{function}"


@dataclass(frozen=True, slots=True)
class OnBus:
    """The addresses of a vendor's `cards` that its driver runs, in the order of the bus. `left_out` has a sentence for
    each that another driver has, or none; None: there is no such card.
    """

    cards: tuple[str, ...]
    left_out: Message | None = None


class PciBus:
    """`root` is where the system's `sys` and `proc` are. Without sysfs nothing is known: no cards, none asleep."""

    def __init__(self, root: Path = Path("/")) -> None:
        self._devices = root / "sys/bus/pci/devices"

    def look(self, vendor: int) -> OnBus:
        """This vendor's graphics cards as they are now."""
        cards = self._cards(vendor)
        own = tuple(address for address, driver in cards if driver == _DRIVERS[vendor])
        others = (_of_another(address, driver) for address, driver in cards if driver != _DRIVERS[vendor])
        return OnBus(own, joined(*others))

    def device(self, address: str) -> Path:
        """The card's folder in sysfs."""
        return self._devices / address

    def is_asleep(self, address: str | None) -> bool:
        """Whether the system has suspended the card; a driver call would wake it, and cost the battery.

        No such file, `unsupported` and `error` count as awake.
        """
        if address is None:
            return False
        return read_text(self._devices / address / "power/runtime_status") in {"suspended", "suspending"}

    def _cards(self, vendor: int) -> list[tuple[str, str | None]]:
        """Each card, and the driver that runs it, None: no driver. Where the kernel shows no driver of any device, it
        is taken for the vendor's.
        """
        if not self._devices.is_dir():
            return []
        devices = sorted(self._devices.iterdir())
        cards = [path for path in devices if self._is_card(path, vendor)]
        if not any((path / "driver").is_symlink() for path in (*cards, *devices)):
            return [(path.name, _DRIVERS[vendor]) for path in cards]
        return [(path.name, _driver(path)) for path in cards]

    @staticmethod
    def _is_card(path: Path, vendor: int) -> bool:
        if read_number(path / "vendor") != vendor:
            return False
        base_class = (read_number(path / "class") or 0) >> 16
        return base_class in {_DISPLAY_CLASS, _ACCELERATOR_CLASS}


def joined(*sentences: Message | None) -> Message | None:
    """These sentences one after the other; None where there is none."""
    told = [sentence for sentence in sentences if sentence is not None]
    if len(told) < 2:
        return told[0] if told else None
    return Message("{first} {rest}", first=told[0], rest=joined(*told[1:]))


def _driver(device: Path) -> str | None:
    try:
        return (device / "driver").readlink().name
    except OSError:
        return None


def _of_another(address: str, driver: str | None) -> Message:
    if driver is None:
        return Message("{address} has no driver.", address=address)
    if driver in _RESERVING:
        return Message("{address} is reserved for a virtual machine ({driver}).", address=address, driver=driver)
    return Message(
        "{address} is run by {driver}: no model can use it until its vendor's driver is loaded.",
        address=address,
        driver=driver,
    )


def read_text(path: Path) -> str | None:
    """A small file of sysfs or procfs; None if it is not there or cannot be read just now."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None


def read_number(path: Path) -> int | None:
    """The number in a file, decimal or hexadecimal with 0x; None if there is none."""
    text = read_text(path)
    try:
        return None if text is None else int(text, 0)
    except ValueError:
        return None
