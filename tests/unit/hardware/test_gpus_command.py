"""`launchdeck gpus` in a process of its own, which finds the driver's library the way it finds a real one."""

from __future__ import annotations

import json
import os
import subprocess
import sys

from fakes.nvml import FakeNvml
from launchdeck.settings.paths import Paths


def printed_by_gpus(nvml: FakeNvml | None, *arguments: str, **environ: str) -> str:
    environment = os.environ | (nvml.environment if nvml else {"LD_LIBRARY_PATH": ""}) | environ
    command = [sys.executable, "-m", "launchdeck", "gpus", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=True).stdout


def gpus(nvml: FakeNvml | None, *arguments: str, **environ: str) -> dict:
    return json.loads(printed_by_gpus(nvml, "--json", *arguments, **environ))


def test_the_drivers_gpus(nvml: FakeNvml):
    nvml.add_gpu(name="엔비디아 RTX 4090")
    nvml.add_gpu(name="NVIDIA A100", total=80 * 2**30)
    document = gpus(nvml)
    assert (document["detector"], document["total"]) == ("NVMLDetector", 2)
    assert [(gpu["index"], gpu["name"], gpu["total_memory_mb"]) for gpu in document["gpus"]] == [
        (0, "엔비디아 RTX 4090", 24576),
        (1, "NVIDIA A100", 81920),
    ]


def test_where_nothing_was_launched_no_supervisor_is_thought_of(nvml: FakeNvml):
    nvml.add_gpu()
    for arguments in ((), ("--json",)):
        command = [sys.executable, "-X", "importtime", "-m", "launchdeck", "gpus", *arguments]
        environment = os.environ | nvml.environment
        told = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=True).stderr
        loaded = {line.rpartition("|")[2].strip() for line in told.splitlines()}
        assert "launchdeck.hardware.nvidia.detector" in loaded
        assert not loaded & {"asyncio", "launchdeck.engines.promises", "launchdeck.serving.direct"}
        assert not any(name.startswith("launchdeck.engines") for name in loaded)


def test_records_that_cannot_be_read_cost_no_document(nvml: FakeNvml):
    nvml.add_gpu()
    records = Paths.resolve().records
    records.parent.mkdir(parents=True)
    records.symlink_to(records)
    assert gpus(nvml)["total"] == 1


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


def test_a_gpu_that_a_mask_hides_is_listed_and_marked(nvml: FakeNvml):
    nvml.add_gpu()
    nvml.add_gpu()
    first, second = gpus(nvml, CUDA_VISIBLE_DEVICES="1")["gpus"]
    assert (first["ours"], first["hidden_by"]) == (False, "CUDA_VISIBLE_DEVICES=1")
    assert (second["ours"], second["hidden_by"]) == (True, None)
    table = printed_by_gpus(nvml, CUDA_VISIBLE_DEVICES="1").splitlines()
    assert ["not ours" in line for line in table if "4090" in line] == [True, False]
    assert "not ours: hidden from Launchdeck by CUDA_VISIBLE_DEVICES=1" in table


def test_a_mask_that_nobody_can_read_is_told(nvml: FakeNvml):
    nvml.add_gpu(name="NVIDIA GeForce RTX 2080")
    nvml.add_gpu(name="NVIDIA H100")
    table = printed_by_gpus(nvml, CUDA_VISIBLE_DEVICES="1")
    assert table.count("set CUDA_DEVICE_ORDER=PCI_BUS_ID as well or name UUIDs") == 1
    assert gpus(nvml, CUDA_VISIBLE_DEVICES="1", CUDA_DEVICE_ORDER="PCI_BUS_ID")["gpus"][1]["ours"]


def test_a_recorded_inventory_knows_nothing_of_this_machines_masks(nvml: FakeNvml, tmp_path):
    nvml.add_gpu()
    nvml.add_gpu()
    file = tmp_path / "recorded.json"
    file.write_text(json.dumps(gpus(nvml, CUDA_VISIBLE_DEVICES="1")), encoding="utf-8")
    replayed = gpus(None, "--inventory", str(file), CUDA_VISIBLE_DEVICES="-1")
    assert [gpu["ours"] for gpu in replayed["gpus"]] == [False, True]
