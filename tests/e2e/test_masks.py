"""Masks that were set before Launchdeck started, through its doors: commands and HTTP."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from e2e.real_application import WITHOUT_WINDOW, application
from fakes.gguf_models import llama
from fakes.machine import GIB, FakeMachine
from fakes.serving import no_process_left

__all__ = ["no_process_left"]
pytestmark = pytest.mark.timeout(180)

PROGRAM = """#!{python}
import sys
words = sys.argv[1:]
if "--help" in words:
    names = "model alias host port ctx-size parallel n-gpu-layers device metrics"
    print("".join(f"--{{name}} VALUE\\n" for name in names.split()))
elif "--list-devices" in words:
    print("Available devices:")
    for number in range(2):
        print(f"  {backend}{{number}}: {card} (24564 MiB, 22000 MiB free)")
else:
    print("version: 10605 (fake)")
"""
CUDA = ("CUDA", "NVIDIA GeForce RTX 4090")
ROCM = ("ROCm", "AMD Radeon RX 7900 XTX")
EMPTIER, FULLER = "GPU-00000001-0000-0000-0000-000000000000", "GPU-00000002-0000-0000-0000-000000000000"
EMPTIER_AMD, FULLER_AMD = "GPU-0000000000000001", "GPU-0000000000000002"


@pytest.fixture
def machine(tmp_path: Path, nvml_library: Path, rocm: Path, root_library: Path) -> FakeMachine:
    """A machine without a graphics card, but with both drivers."""
    return FakeMachine(tmp_path, nvml_library, rocm, root_library)


def engine(folder: Path, backend: str, card: str) -> Path:
    program = folder / "bin" / "llama-server"
    program.parent.mkdir()
    program.write_text(PROGRAM.format(python=sys.executable, backend=backend, card=card))
    program.chmod(0o755)
    return program


def planned(machine: FakeMachine, folder: Path, program: Path, *arguments: str, **masks: str) -> Any:
    """The document of `plan`, or what it says where it refuses."""
    llama().write(folder / "demo.gguf")
    path = f"{program.parent}{os.pathsep}{os.environ['PATH']}"
    command = [sys.executable, "-m", "launchdeck", "plan", str(folder / "demo.gguf"), "--json", *arguments]
    environment = os.environ | machine.environment | {"PATH": path} | masks
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    return json.loads(done.stdout) if done.returncode == 0 else done.stderr


@pytest.mark.parametrize("mask", ["1", FULLER, "GPU-00000002", "1,0", "1,x,0"])
def test_a_launch_takes_what_the_mask_leaves(machine: FakeMachine, tmp_path: Path, mask: str) -> None:
    machine.add_nvidia(1, used=1 * GIB)
    machine.add_nvidia(2, used=6 * GIB)
    program = engine(tmp_path, *CUDA)
    taken = planned(machine, tmp_path, program, CUDA_VISIBLE_DEVICES=mask)["env"]["CUDA_VISIBLE_DEVICES"]
    assert taken == (EMPTIER if mask == "1,0" else FULLER)


@pytest.mark.parametrize("mask", ["-1", ""])
def test_with_everything_hidden_it_is_the_cpu_and_says_so(machine: FakeMachine, tmp_path: Path, mask: str) -> None:
    machine.add_nvidia(1)
    program = engine(tmp_path, *CUDA)
    plan = planned(machine, tmp_path, program, CUDA_VISIBLE_DEVICES=mask)
    assert (plan["env"]["CUDA_VISIBLE_DEVICES"], plan["layers"]["resolved"]) == ("-1", 0)
    assert any("CUDA_VISIBLE_DEVICES" in warning for warning in plan["warnings"])
    refusal = planned(machine, tmp_path, program, "--gpu", "0", CUDA_VISIBLE_DEVICES=mask)
    assert "GPU 0 (NVIDIA GeForce RTX 4090) is hidden from Launchdeck by CUDA_VISIBLE_DEVICES=" in refusal


@pytest.mark.parametrize("mask", ["HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "GPU_DEVICE_ORDINAL"])
def test_amds_masks_are_obeyed(machine: FakeMachine, tmp_path: Path, mask: str) -> None:
    machine.add_amd(1, vram_used=1 * GIB)
    machine.add_amd(2, vram_used=6 * GIB)
    program = engine(tmp_path, *ROCM)
    assert planned(machine, tmp_path, program)["env"]["HIP_VISIBLE_DEVICES"] == EMPTIER_AMD
    assert planned(machine, tmp_path, program, **{mask: "1"})["env"]["HIP_VISIBLE_DEVICES"] == FULLER_AMD


def test_http_shows_what_is_hidden_and_does_not_take_it(
    machine: FakeMachine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.add_nvidia(1, used=1 * GIB)
    machine.add_nvidia(2, used=6 * GIB)
    for name, value in (machine.environment | {"CUDA_VISIBLE_DEVICES": "1"}).items():
        monkeypatch.setenv(name, value)
    with application() as app:
        app.start(WITHOUT_WINDOW)
        gpus = app.http.get("/api/management/gpus").json()["gpus"]
        assert [(gpu["ours"], gpu["hidden_by"]) for gpu in gpus] == [(False, "CUDA_VISIBLE_DEVICES=1"), (True, None)]
        answer = app.ask_load("model", gpu_indices=[0])
        assert answer.status_code == 422
        assert "hidden from Launchdeck by CUDA_VISIBLE_DEVICES=1" in answer.text
