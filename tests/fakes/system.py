"""Another system than the machine's: graphics cards in /sys and /proc, as a folder, and what a process may preload."""

from __future__ import annotations

import shutil
from pathlib import Path

from fakes.driver import compile_library

NVIDIA, AMD = 0x10DE, 0x1002
GIB = 2**30


def build(folder: Path, name: str = "root") -> Path:
    """Compile NAME.c, which shows a process that preloads it another system than the machine's."""
    library = folder / f"{name}.so"
    source = Path(__file__).with_name(f"{name}.c")
    compile_library(source, library)
    return library


class FakeSystem:
    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "sys/bus/pci/devices").mkdir(parents=True)

    def add_card(
        self,
        address: str,
        vendor: int = NVIDIA,
        *,
        status: str = "active",
        pci_class: int = 0x030000,
        driver: str | None = None,
    ) -> None:
        """A card; the kernel shows which `driver` runs it only where a test names one."""
        self.write(f"sys/bus/pci/devices/{address}/vendor", f"0x{vendor:04x}")
        self.write(f"sys/bus/pci/devices/{address}/class", f"0x{pci_class:06x}")
        self.set_status(address, status)
        if driver is not None:
            folder = self.root / "sys/bus/pci/drivers" / driver
            folder.mkdir(parents=True, exist_ok=True)
            (self.root / "sys/bus/pci/devices" / address / "driver").symlink_to(folder)

    def remove_card(self, address: str) -> None:
        shutil.rmtree(self.root / "sys/bus/pci/devices" / address)

    def set_status(self, address: str, status: str) -> None:
        """What the kernel says of the card's sleep: active, suspended, ..."""
        self.write(f"sys/bus/pci/devices/{address}/power/runtime_status", status)

    def add_nvidia_proc(self, address: str, name: str, uuid: str, *, rtd3: str = "Enabled (fine-grained)") -> None:
        """What NVIDIA's kernel driver tells of a card."""
        folder = f"proc/driver/nvidia/gpus/{address}"
        self.write(f"{folder}/information", f"Model: \t\t {name}\nIRQ:   \t\t 120\nGPU UUID: \t {uuid}")
        self.write(f"{folder}/power", f"Runtime D3 status:          {rtd3}\nVideo Memory:               Active")

    def add_amd(self, address: str, *, integrated: bool = False, **files: object) -> None:
        """A card that the amdgpu driver runs: an RX 7900 XTX, with these files besides (`__` stands for `/`)."""
        self.add_card(address, AMD)
        usual = {
            "device": "0x744c",
            "revision": "0xc8",
            "unique_id": "a1b2c3d4e5f60718",
            "mem_info_vram_total": 24 * GIB,
            "mem_info_vram_used": 3 * GIB,
            "mem_info_gtt_total": 16 * GIB,
            "mem_info_gtt_used": GIB,
            "gpu_busy_percent": 17,
            "hwmon__hwmon4__temp1_input": 52_000,
            "hwmon__hwmon4__power1_average": 95_000_000,
            "hwmon__hwmon4__power1_cap": 303_000_000,
            "hwmon__hwmon4__freq1_label": "sclk",
            "hwmon__hwmon4__freq1_input": 2_304_000_000,
            "hwmon__hwmon4__freq2_label": "mclk",
            "hwmon__hwmon4__freq2_input": 1_249_000_000,
            "hwmon__hwmon4__pwm1": 102,
            "hwmon__hwmon4__pwm1_max": 255,
            "gpu_metrics": f"\x60\0{chr(2 if integrated else 1)}\3",
        }
        for name, value in (usual | files).items():
            if value is not None:
                self.write(f"sys/bus/pci/devices/{address}/{name.replace('__', '/')}", str(value))

    def write(self, path: str, text: str) -> None:
        """Write a file below the root, with its folders."""
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{text}\n")
