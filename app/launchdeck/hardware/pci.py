"""The graphics cards on the PCI bus as Linux's sysfs shows them: no driver is asked, and no card wakes up."""

from __future__ import annotations

import re
from pathlib import Path

NVIDIA_VENDOR = 0x10DE
AMD_VENDOR = 0x1002

_ADDRESS = re.compile(r"(?:([0-9a-f]{1,8}):)?([0-9a-f]{1,2}):([0-9a-f]{1,2})\.([0-7])", re.IGNORECASE)
_DISPLAY_CLASS = 0x03
_ACCELERATOR_CLASS = 0x12  # where AMD's Instinct cards are


def normalise_address(address: str) -> str | None:
    """`00000000:0A:00.0` as NVML writes it -> `0000:0a:00.0` as Linux does; None if it is no PCI address."""
    match = _ADDRESS.fullmatch(address.strip())
    if match is None:
        return None
    domain, bus, device, function = (int(part or "0", 16) for part in match.groups())
    return f"{domain:04x}:{bus:02x}:{device:02x}.{function}"


class PciBus:
    """`root` is where the system's `sys` and `proc` are. Without sysfs nothing is known: no cards, none asleep."""

    def __init__(self, root: Path = Path("/")) -> None:
        self._devices = root / "sys/bus/pci/devices"

    def graphics_cards(self, vendor: int) -> tuple[str, ...]:
        """The addresses of this vendor's cards, in the order of the bus."""
        if not self._devices.is_dir():
            return ()
        return tuple(sorted(path.name for path in self._devices.iterdir() if self._is_card(path, vendor)))

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

    @staticmethod
    def _is_card(path: Path, vendor: int) -> bool:
        if read_number(path / "vendor") != vendor:
            return False
        base_class = (read_number(path / "class") or 0) >> 16
        return base_class in {_DISPLAY_CLASS, _ACCELERATOR_CLASS}


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
