"""One call to a driver takes 30 s while the real window is open: only that driver's GPUs are held up."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from e2e.real_application import DEADLINE_S, WITHOUT_WINDOW, RealApplication, application, took
from fakes.machine import FakeMachine
from fakes.serving import answers, until

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


@pytest.mark.parametrize("command", [("-m", "launchdeck"), WITHOUT_WINDOW], ids=["window", "serve"])
def test_fault_25_a_program_is_told_and_a_model_serves_on(machine: FakeMachine, command: tuple[str, ...]):
    answers_file = Path(machine.environment["LAUNCHDECK_FAKE_NVML"])
    with application() as app:
        app.environment = machine.environment
        app.start(command)
        before = app.running("model", "--chatter")
        until(lambda: states(app) == {"amd": "active", "nvidia": "active"}, "both GPUs", DEADLINE_S)
        answers_file.write_text(answers_file.read_text() + "delay_ms.Utilization=30000\n")
        until(lambda: states(app)["nvidia"] == "lost", "the driver to be given up", DEADLINE_S)
        assert states(app)["amd"] == "active"
        assert took(lambda: app.http.get("/ping")) < 5.0
        after = app.entry("model")
        assert (after["state"], after["port"]) == ("running", before["port"])
        assert answers(after["port"])
        app.stop("model")


def states(app: RealApplication) -> dict[str, str]:
    """How the GPU of each vendor is."""
    gpus = app.http.get("/api/management/gpus").json()["gpus"]
    return {gpu["gpu_type"]: gpu["state"] for gpu in gpus}
