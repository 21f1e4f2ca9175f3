"""AMD's library without a GPU, as a ROCm folder has it: `lib/libamd_smi.so`, found through ROCM_PATH."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path

import pytest

from fakes.driver import FakeDriver, build_library

GIB = 2**30


def build(rocm: Path) -> Path:
    """Make a ROCm folder with the library. Its bindings do not even load without all 184 functions they know."""
    spec = importlib.util.find_spec("amdsmi")
    assert spec is not None
    assert spec.origin is not None
    wrapper = Path(spec.origin).with_name("amdsmi_wrapper.py").read_text()
    wanted = re.findall(r"_libraries\['libamd_smi\.so'\]\.(\w+)", wrapper)
    (rocm / "lib").mkdir(parents=True)
    build_library(Path(__file__).with_name("amdsmi.c"), rocm / "lib/libamd_smi.so", wanted)
    return rocm


class FakeAmdSmi(FakeDriver):
    def __init__(self, rocm: Path, folder: Path) -> None:
        super().__init__(folder, "LAUNCHDECK_FAKE_AMDSMI")
        self.environment["ROCM_PATH"] = str(rocm)
        self.set(driver="6.16.6")

    def connect(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Make it this process's library until the test ends; the bindings look for it when they are imported."""
        monkeypatch.delenv("ROCM_HOME", raising=False)
        for name, value in self.environment.items():
            monkeypatch.setenv(name, value)
        for name in [name for name in sys.modules if name.split(".")[0] == "amdsmi"]:
            monkeypatch.delitem(sys.modules, name)

    def add_gpu(self, **values: object) -> int:
        """One more GPU: an RX 7900 XTX with 24 GiB at bus 3 and up, unless told otherwise; keys as in amdsmi.c."""
        place = int(str(self._values["count"]))
        usual: dict[str, object] = {
            "name": "AMD Radeon RX 7900 XTX",
            "bdf": (place + 3) << 8,
            "hip_uuid": f"GPU-{place + 1:016x}",
            "vram_total": 24 * GIB,
            "vram_used": 3 * GIB,
            "util": 17,
            "power": 95,
            "edge": 52,
            "clock": 2304,
            "memory_clock": 1249,
            "fan": 102,
            "power_cap": 303_000_000,
            "hip_id": place,
        }
        return self.add(**(usual | values))

    def add_partitions(self, count: int, **values: object) -> None:
        """An Instinct card as this many GPUs of one package (CPX, NPS1): the library gives each a function of the
        card's address that is not on the bus, and the memory of the whole package.
        """
        bus = int(str(self._values["count"])) + 3
        usual: dict[str, object] = {
            "name": "AMD Instinct MI300X",
            "vram_total": 192 * GIB,
            "vram_used": 16 * GIB,
            "hip_uuid": f"GPU-{bus:016x}",
            "edge": "",
            "hotspot": 60,
            "fan": None,
        }
        for function in range(count):
            self.add_gpu(bdf=bus << 8 | function, **(usual | values))
