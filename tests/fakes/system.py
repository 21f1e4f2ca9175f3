"""The parts of /sys and /proc that tell of graphics cards, as a folder."""

from __future__ import annotations

from pathlib import Path

NVIDIA, AMD = 0x10DE, 0x1002


class FakeSystem:
    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "sys/bus/pci/devices").mkdir(parents=True)

    def add_card(
        self, address: str, vendor: int = NVIDIA, *, status: str = "active", pci_class: int = 0x030000
    ) -> None:
        self.write(f"sys/bus/pci/devices/{address}/vendor", f"0x{vendor:04x}")
        self.write(f"sys/bus/pci/devices/{address}/class", f"0x{pci_class:06x}")
        self.set_status(address, status)

    def set_status(self, address: str, status: str) -> None:
        """What the kernel says of the card's sleep: active, suspended, ..."""
        self.write(f"sys/bus/pci/devices/{address}/power/runtime_status", status)

    def add_nvidia_proc(self, address: str, name: str, uuid: str, *, rtd3: str = "Enabled (fine-grained)") -> None:
        """What NVIDIA's kernel driver tells of a card."""
        folder = f"proc/driver/nvidia/gpus/{address}"
        self.write(f"{folder}/information", f"Model: \t\t {name}\nIRQ:   \t\t 120\nGPU UUID: \t {uuid}")
        self.write(f"{folder}/power", f"Runtime D3 status:          {rtd3}\nVideo Memory:               Active")

    def write(self, path: str, text: str) -> None:
        """Write a file below the root, with its folders."""
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{text}\n")
