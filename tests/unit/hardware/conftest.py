"""The driver's stand-in, and a system's folders, for every test of this room."""

from __future__ import annotations

from pathlib import Path

import pytest

from conftest import skip_or_fail
from fakes.amdsmi import FakeAmdSmi
from fakes.amdsmi import build as build_rocm
from fakes.driver import compiler
from fakes.nvml import FakeNvml, build
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


@pytest.fixture(scope="session")
def nvml_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if compiler() is None:
        skip_or_fail("no C compiler (cc) to build the stand-in for NVIDIA's driver library")
    return build(tmp_path_factory.mktemp("nvml"))


@pytest.fixture
def nvml(nvml_library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeNvml:
    """NVIDIA's driver in this process, without a GPU until one is added."""
    fake = FakeNvml(nvml_library, tmp_path)
    fake.connect(monkeypatch)
    return fake


@pytest.fixture(scope="session")
def rocm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if compiler() is None:
        skip_or_fail("no C compiler (cc) to build the stand-in for AMD's library")
    return build_rocm(tmp_path_factory.mktemp("amdsmi") / "rocm")


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
