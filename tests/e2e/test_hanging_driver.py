"""One call to a driver takes 30 s while the real window is open: only that driver's GPUs are held up."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fakes.machine import FakeMachine

PROGRAM = Path(__file__).with_name("hanging_window.py")


@pytest.fixture
def machine(tmp_path: Path, nvml_library: Path, rocm: Path, root_library: Path) -> FakeMachine:
    machine = FakeMachine(tmp_path, nvml_library, rocm, root_library)
    machine.add_amd(3)
    machine.add_nvidia(1)
    return machine


def test_fault_25_the_window_and_the_other_gpus_go_on_and_quitting_does_not_wait(machine: FakeMachine):
    answers = machine.environment["LAUNCHDECK_FAKE_NVML"]
    environment = os.environ | machine.environment
    command = [sys.executable, str(PROGRAM), answers]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100, check=False)
    ended_at_s = time.time()
    assert result.returncode == 0, result.stderr
    report = json.loads(result.stdout)
    print(report)
    assert report["stalled"]
    assert report["cards"][0].startswith("4.1 / 24 GiB, 17 %")
    assert report["cards"][1].startswith("▲ Stalled")
    assert "1 RTX 4090: It does not answer any more" in report["alert"]
    assert len(report["samples_of_the_other"]) >= 3
    assert set(report["samples_of_the_other"]) == {17}
    assert report["longest_pause_s"] < 10  # the interval is 1 s, and the driver is waited for once
    assert report["p99_ms"] < 5 * 16
    assert report["quit_s"] < 5 * 2
    assert ended_at_s - report["left_at_s"] < 5 * 2
    assert "QThread" not in result.stderr
