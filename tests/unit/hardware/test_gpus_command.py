"""`launchdeck gpus` in a process of its own, which finds the driver's library the way it finds a real one."""

from __future__ import annotations

import json
import os
import subprocess
import sys

from fakes.nvml import FakeNvml


def gpus(nvml: FakeNvml | None, *arguments: str) -> dict:
    environment = os.environ | (nvml.environment if nvml else {"LD_LIBRARY_PATH": ""})
    command = [sys.executable, "-m", "launchdeck", "gpus", "--json", *arguments]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=True)
    return json.loads(result.stdout)


def test_the_drivers_gpus(nvml: FakeNvml):
    nvml.add_gpu(name="엔비디아 RTX 4090")
    nvml.add_gpu(name="NVIDIA A100", total=80 * 2**30)
    document = gpus(nvml)
    assert (document["detector"], document["total"]) == ("NVMLDetector", 2)
    assert [(gpu["index"], gpu["name"], gpu["total_memory_mb"]) for gpu in document["gpus"]] == [
        (0, "엔비디아 RTX 4090", 24576),
        (1, "NVIDIA A100", 81920),
    ]


def test_a_driver_without_gpus_leaves_the_cpu(nvml: FakeNvml):
    document = gpus(nvml)
    assert (document["detector"], document["total"]) == ("CPUDetector", 1)
    assert document["gpus"][0]["gpu_type"] == "cpu"


def test_what_it_prints_can_be_replayed(nvml: FakeNvml, tmp_path):
    nvml.add_gpu()
    printed = gpus(nvml)
    file = tmp_path / "recorded.json"
    file.write_text(json.dumps(printed), encoding="utf-8")
    replayed = gpus(None, "--inventory", str(file))
    assert replayed["gpus"] == printed["gpus"]
    assert replayed["detector"] == printed["detector"]
