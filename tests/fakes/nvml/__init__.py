"""NVIDIA's driver library without a GPU, for the real Python bindings: a shared object that reads a text file.

In a subprocess it is found through `environment`; in this process `connect` gives it to the bindings.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from pathlib import Path

import pynvml
import pytest

SOURCE = Path(__file__).with_name("nvml.c")
LIBRARY = "libnvidia-ml.so.1"
GIB = 2**30


def compiler() -> str | None:
    return shutil.which("cc")


def build(folder: Path) -> Path:
    """Compile the library into a folder."""
    library = folder / LIBRARY
    options = ["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-D_GNU_SOURCE"]
    command = [str(compiler()), *options, str(SOURCE), "-o", str(library)]
    subprocess.run(command, check=True)
    return library


class FakeNvml:
    """The text file, and the list of calls. A change is in force with the next call of the driver."""

    def __init__(self, library: Path, folder: Path) -> None:
        self._library = library
        self._file = folder / "nvml.txt"
        self._log = folder / "nvml.log"
        self._values: dict[str, object] = {"count": 0, "driver": "580.95.05"}
        self._write()

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs to get this driver: the library's folder, the text file, the list of calls."""
        return {
            "LD_LIBRARY_PATH": str(self._library.parent),
            "LAUNCHDECK_FAKE_NVML": str(self._file),
            "LAUNCHDECK_FAKE_NVML_LOG": str(self._log),
        }

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
            "major": 8,
            "minor": 9,
        }
        self.set(**{f"{place}.{key}": value for key, value in (usual | values).items()}, count=place + 1)
        return place

    def set(self, **values: object) -> None:
        """Lines of the file; None takes a line away."""
        self._values.update(values)
        self._write()

    def calls(self, name: str | None = None, gpu: int | None = None) -> int:
        """How often the driver has been called: by this name, for this GPU."""
        if not self._log.exists():
            return 0
        calls = [line.split() for line in self._log.read_text().splitlines()]
        return sum(name in {None, call} and gpu in {None, int(place)} for call, place in calls)

    def _write(self) -> None:
        lines = [f"{key}={value}\n" for key, value in self._values.items() if value is not None]
        fresh = self._file.with_suffix(".new")
        fresh.write_bytes(b"".join(line.encode(errors="surrogateescape") for line in lines))
        fresh.replace(self._file)
