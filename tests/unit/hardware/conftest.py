"""The driver's stand-in, and a system's folders, for every test of this room."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from fakes.amdsmi import FakeAmdSmi
from fakes.nvml import FakeNvml
from fakes.system import FakeSystem


class Clock:
    """A clock that stands still until a test moves it."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def nvml(nvml_library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeNvml:
    """NVIDIA's driver in this process, without a GPU until one is added."""
    fake = FakeNvml(nvml_library, tmp_path)
    fake.connect(monkeypatch)
    return fake


@pytest.fixture
def amdsmi(rocm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeAmdSmi:
    """AMD's library in this process, without a GPU until one is added."""
    fake = FakeAmdSmi(rocm, tmp_path)
    fake.connect(monkeypatch)
    return fake


@pytest.fixture
def system(tmp_path: Path) -> FakeSystem:
    """A system without graphics cards."""
    return FakeSystem(tmp_path / "root")


OPENED: list[str] = []


@pytest.fixture
def opened() -> list[str]:
    """The files that this process opens from now on: an audit hook can be added, and never taken away."""
    if not OPENED:
        sys.addaudithook(lambda event, told: OPENED.append(str(told[0])) if event == "open" else None)
    OPENED[:] = ["begun"]
    return OPENED
