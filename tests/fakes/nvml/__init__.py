"""NVIDIA's driver library without a GPU.

In a subprocess it is found through `environment`; in this process `connect` gives it to the bindings.
"""

from __future__ import annotations

import ctypes
import re
from pathlib import Path

import pynvml
import pytest

from fakes.driver import FakeDriver, build_library

GIB = 2**30


def build(folder: Path) -> Path:
    """Compile the library into a folder."""
    wanted = re.findall(r'_nvmlGetFunctionPointer\("(\w+)"\)', Path(str(pynvml.__file__)).read_text())
    here = Path(__file__).parent
    source = folder / "nvml.c"
    text = "\n".join((here / name).read_text() for name in ("nvml.c", "mig.c"))
    source.write_text(text.replace('"../answers.h"', f'"{here.parent / "answers.h"}"'))
    return build_library(source, folder / "libnvidia-ml.so.1", wanted)


class FakeNvml(FakeDriver):
    def __init__(self, library: Path, folder: Path) -> None:
        super().__init__(folder, "LAUNCHDECK_FAKE_NVML")
        self._library = library
        self.environment["LD_LIBRARY_PATH"] = str(library.parent)
        self.set(driver="580.95.05")

    def connect(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Make it this process's driver until the test ends, also where a real one is installed."""
        for name, value in self.environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(pynvml, "nvmlLib", ctypes.CDLL(str(self._library)))
        monkeypatch.setattr(pynvml, "_nvmlGetFunctionPointer_cache", {})

    def add_gpu(self, **values: object) -> int:
        """One more GPU: an RTX 4090 with 24 GiB, unless told otherwise; keys as in nvml.c."""
        place = int(str(self._values["count"]))
        usual: dict[str, object] = {
            "name": "NVIDIA GeForce RTX 4090",
            "uuid": f"GPU-00000000-0000-0000-0000-{place:012d}",
            "bus_id": f"00000000:{place + 1:02X}:00.0",
            "total": 24 * GIB,
            "reserved": GIB // 2,
            "used": 2 * GIB,
            "util": 43,
            "temp": 61,
            "power": 210_500,
            "limit": 450_000,
            "clock": 2520,
            "memory_clock": 10_501,
            "fan": 38,
            "major": 8,
            "minor": 9,
        }
        return self.add(**(usual | values))

    def add_slice(self, gpu: int, place: int = 0, **values: object) -> int:
        """A slice of 10 GB of a GPU, which is divided with it, at this of its places; its number for `set`."""
        number = 100 * (gpu + 1) + place
        usual: dict[str, object] = {
            "name": "NVIDIA A100-SXM4-80GB MIG 1g.10gb",
            "uuid": f"MIG-00000000-0000-0000-{gpu:04d}-{place:012d}",
            "total": 9728 * 2**20,
            "reserved": 0,
            "used": 2**20,
        }
        told = {f"{number}.{key}": value for key, value in (usual | values).items()}
        self.set(**{f"{gpu}.mig": 1, **told})
        return number
