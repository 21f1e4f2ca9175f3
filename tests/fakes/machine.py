"""A whole machine's graphics cards, as a process of its own sees them: both drivers' libraries, and the kernel's files.

Every GPU is told to the fakes, and remembered as the entry of the document that it has to become.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from fakes.amdsmi import FakeAmdSmi
from fakes.nvml import FakeNvml
from fakes.system import FakeSystem

MIB = 2**20
GIB = 2**30
NVIDIA_USUAL: dict[str, Any] = {
    "name": "NVIDIA GeForce RTX 4090", "total": 24564 * MIB, "reserved": 493 * MIB, "used": 11_673 * MIB, "util": 43,
    "temp": 61, "power": 210_500, "limit": 450_000, "clock": 2520, "memory_clock": 10_501, "fan": 38,
}  # fmt: skip
AMD_USUAL: dict[str, Any] = {
    "name": "AMD Radeon RX 7900 XTX", "vram_total": 24_560 * MIB, "vram_used": 4_211 * MIB, "util": 17, "edge": 52,
    "power": 95, "power_cap": 303_000_000, "clock": 2304, "memory_clock": 1249, "fan": 102,
}  # fmt: skip


class FakeMachine:
    def __init__(self, folder: Path, nvml_library: Path, rocm: Path, root_library: Path) -> None:
        self.nvml = FakeNvml(nvml_library, folder)
        self.amdsmi = FakeAmdSmi(rocm, folder)
        self.system = FakeSystem(folder / "root")
        self.environment = {
            **self.nvml.environment,
            **self.amdsmi.environment,
            "LAUNCHDECK_FAKE_ROOT": str(self.system.root),
            "LD_PRELOAD": str(root_library),
        }

    def add_nvidia(self, bus: int, **values: Any) -> dict[str, Any]:
        """An RTX 4090 unless told otherwise; its entry."""
        told = NVIDIA_USUAL | values
        address = f"0000:{bus:02x}:00.0"
        uuid = f"GPU-{bus:08x}-0000-0000-0000-000000000000"
        self.system.add_card(address)
        self.nvml.add_gpu(bus_id=f"0000{address.upper()}", uuid=uuid, **told)
        return {
            "uuid": uuid,
            "pci_address": address,
            "name": told["name"],
            "gpu_type": "nvidia",
            "total_memory_mb": told["total"] // MIB,
            "used_memory_mb": told["used"] // MIB,
            "free_memory_mb": (told["total"] - told["used"] - told["reserved"]) // MIB,
            "utilization_percent": told["util"],
            "temperature_c": told["temp"],
            "power_watts": told["power"] / 1000,
            "power_limit_watts": told["limit"] / 1000,
            "graphics_clock_mhz": told["clock"],
            "memory_clock_mhz": told["memory_clock"],
            "fan_percent": told["fan"],
            "driver_version": "580.95.05",
            "integrated": False,
            "state": "active",
        }

    def add_amd(self, bus: int, *, files: dict[str, Any] | None = None, **values: Any) -> dict[str, Any]:
        """An RX 7900 XTX unless told otherwise, with these `files` of the kernel's; its entry."""
        told = AMD_USUAL | values
        address = f"0000:{bus:02x}:00.0"
        uuid = f"GPU-{bus:016x}"
        self.system.add_amd(address, hwmon__hwmon4__power1_cap=None, **(files or {}))
        self.amdsmi.add_gpu(bdf=bus << 8, hip_uuid=uuid, **told)
        return {
            "uuid": uuid,
            "pci_address": address,
            "name": told["name"],
            "gpu_type": "amd",
            "total_memory_mb": told["vram_total"] // MIB,
            "used_memory_mb": told["vram_used"] // MIB,
            "free_memory_mb": (told["vram_total"] - told["vram_used"]) // MIB,
            "utilization_percent": told["util"],
            "temperature_c": told["edge"],
            "power_watts": told["power"],
            "power_limit_watts": told["power_cap"] / 1_000_000,
            "graphics_clock_mhz": told["clock"],
            "memory_clock_mhz": told["memory_clock"],
            "fan_percent": round(100 * told["fan"] / 255),
            "driver_version": "6.16.6",
            "integrated": False,
            "state": "active",
        }

    def gpus(self, *arguments: str) -> dict[str, Any]:
        """What `launchdeck gpus --json` prints on this machine."""
        document: dict[str, Any] = json.loads(self.run("gpus", "--json", *arguments))
        return document

    def run(self, *arguments: str) -> str:
        """The standard output of a command on this machine."""
        command = [sys.executable, "-m", "launchdeck", *arguments]
        environment = os.environ | self.environment
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=True).stdout
