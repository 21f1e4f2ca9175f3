"""The inventory's document: its contract, the way back, and sentences for files that are no inventory."""

from __future__ import annotations

import json
import os
import random
import time
from dataclasses import replace
from pathlib import Path

import pytest

from fakes.mutations import broken
from fakes.samples import GIB
from launchdeck.domain.errors import Cause, LaunchdeckError
from launchdeck.domain.gpu import Gpu, GpuMask, GpuProcess, GpuReading, GpuSample, GpuState, GpuType, Inventory
from launchdeck.hardware.document import from_document, to_document
from launchdeck.hardware.replay import ReplaySource

CPU = GpuReading(
    Gpu(0, "cpu", None, "Ryzen", GpuType.CPU, 64 * GIB),
    GpuSample(
        1000.5, used_memory_bytes=16 * GIB, free_memory_bytes=48 * GIB, utilization_percent=12, core_percents=(3, 21)
    ),
)
RTX = GpuReading(
    Gpu(0, "GPU-a", "0000:01:00.0", "RTX 4090", GpuType.NVIDIA, 24 * GIB, "580.95.05", (8, 9)),
    GpuSample(
        1000.5,
        11 * GIB,
        13 * GIB,
        43,
        61,
        210.5,
        450.0,
        2520,
        10501,
        38,
        processes=(GpuProcess(7, "llama-server", 10 * GIB),),
    ),
)
APU = GpuReading(
    Gpu(
        1,
        "GPU-b",
        "0000:0c:00.0",
        "라데온 780M",
        GpuType.AMD,
        None,
        integrated=True,
        hip_id=2,
        gfx_target="gfx1103",
        ours=False,
        hidden_by=GpuMask("HIP_VISIBLE_DEVICES=0"),
    ),
    GpuSample(1000.5, state=GpuState.ASLEEP, processes=(GpuProcess(8, "", None),)),
)
FULL = Inventory((RTX, APU), CPU, "AMDSMIDetector+NVMLDetector", 1000.5)
BARE = Inventory((), CPU, "CPUDetector", 1000.5)


def test_the_contract():
    document = to_document(FULL)
    first = document["gpus"][0]
    wanted = {
        "index": 0, "uuid": "GPU-a", "pci_address": "0000:01:00.0", "name": "RTX 4090", "gpu_type": "nvidia",
        "ours": True,
        "total_memory_mb": 24576, "used_memory_mb": 11264, "free_memory_mb": 13312, "utilization_percent": 43,
        "temperature_c": 61, "power_watts": 210.5, "state": "active",
        "processes": [{"pid": 7, "name": "llama-server", "used_memory_mb": 10240}],
    }  # fmt: skip
    assert {key: first[key] for key in wanted} == wanted
    assert (document["total"], document["detector"]) == (2, "AMDSMIDetector+NVMLDetector")
    second = document["gpus"][1]
    assert (second["ours"], second["hidden_by"]) == (False, "HIP_VISIBLE_DEVICES=0")
    assert (second["state"], second["utilization_percent"], second["total_memory_mb"]) == ("asleep", None, None)


def test_a_gpu_whose_driver_hangs_is_lost_to_the_documents_readers():
    stalled = replace(RTX, sample=GpuSample(1000.5, state=GpuState.STALLED))
    assert to_document(replace(FULL, gpus=(stalled,)))["gpus"][0]["state"] == "lost"


def test_without_gpus_there_is_exactly_the_cpu():
    document = to_document(BARE)
    (entry,) = document["gpus"]
    assert (entry["index"], entry["gpu_type"], document["total"]) == (0, "cpu", 1)
    assert document["detector"] == "CPUDetector"


@pytest.mark.parametrize("inventory", [FULL, BARE])
def test_there_and_back(inventory: Inventory):
    again = from_document(json.loads(json.dumps(to_document(inventory))))
    assert again.replayed
    assert (again.gpus, again.cpu) == (inventory.gpus, inventory.cpu)
    assert again.detector == inventory.detector


def test_null_is_the_same_as_left_out():
    entry = dict.fromkeys(to_document(FULL)["gpus"][0]) | {"gpu_type": "nvidia"}
    assert from_document({"gpus": [entry], "cpu": None, "detector": None, "sampled_at_s": 1000.5}).gpus == (
        from_document({"gpus": [{"gpu_type": "nvidia"}], "sampled_at_s": 1000.5}).gpus
    )


def test_a_file_written_by_hand_may_leave_out_what_it_does_not_know():
    inventory = from_document({"gpus": [{"gpu_type": "nvidia", "name": "RTX", "total_memory_mb": 24576}]})
    (reading,) = inventory.gpus
    assert reading.gpu.total_memory_bytes == 24 * GIB
    assert (reading.sample.free_memory_bytes, reading.sample.state) == (None, GpuState.ACTIVE)
    assert inventory.cpu.gpu.gpu_type is GpuType.CPU
    assert inventory.cpu.gpu.total_memory_bytes is None
    assert reading.gpu.ours


NVIDIA = {"gpu_type": "nvidia"}
MUTATIONS = 2000


@pytest.mark.parametrize(
    ("document", "place"),
    [
        ([], "document"),
        ("gpus", "document"),
        ({}, "gpus"),
        ({"models": []}, "gpus"),
        ({"gpus": {}}, "gpus"),
        ({"gpus": ["RTX"]}, "gpus[0]"),
        ({"gpus": [{}]}, "gpus[0].gpu_type"),
        ({"gpus": [NVIDIA, {"gpu_type": "intel"}]}, "gpus[1].gpu_type"),
        ({"gpus": [{"gpu_type": ["nvidia"]}]}, "gpus[0].gpu_type"),
        ({"gpus": [NVIDIA | {"total_memory_mb": "24 GiB"}]}, "gpus[0].total_memory_mb"),
        ({"gpus": [NVIDIA | {"used_memory_mb": -1}]}, "gpus[0].used_memory_mb"),
        ({"gpus": [NVIDIA | {"used_memory_mb": True}]}, "gpus[0].used_memory_mb"),
        ({"gpus": [NVIDIA | {"power_watts": float("nan")}]}, "gpus[0].power_watts"),
        ({"gpus": [NVIDIA | {"name": 4090}]}, "gpus[0].name"),
        ({"gpus": [NVIDIA | {"index": 1}]}, "gpus[0].index"),
        ({"gpus": [NVIDIA | {"state": "tired"}]}, "gpus[0].state"),
        ({"gpus": [NVIDIA | {"integrated": "no"}]}, "gpus[0].integrated"),
        ({"gpus": [NVIDIA | {"ours": "no"}]}, "gpus[0].ours"),
        ({"gpus": [NVIDIA | {"hidden_by": 1}]}, "gpus[0].hidden_by"),
        ({"gpus": [NVIDIA | {"compute_capability": "new"}]}, "gpus[0].compute_capability"),
        ({"gpus": [NVIDIA | {"processes": [{"pid": "x"}]}]}, "gpus[0].processes[0].pid"),
        ({"gpus": [NVIDIA, {"gpu_type": "cpu"}]}, "gpus"),
        ({"gpus": [{"gpu_type": "cpu"}, {"gpu_type": "cpu"}]}, "gpus"),
        ({"gpus": [NVIDIA | {"uuid": "GPU-a"}, NVIDIA | {"uuid": "GPU-a"}]}, "gpus[1].uuid"),
        ({"gpus": [NVIDIA | {"total_memory_mb": 10**400}]}, "gpus[0].total_memory_mb"),
        ({"gpus": [NVIDIA | {"total_memory_mb": 1e300}]}, "gpus[0].total_memory_mb"),
        ({"gpus": [NVIDIA | {"temperature_c": float("inf")}]}, "gpus[0].temperature_c"),
        ({"gpus": [NVIDIA | {"core_percents": [1, "2"]}]}, "gpus[0].core_percents[1]"),
        ({"gpus": [NVIDIA | {"core_percents": 5}]}, "gpus[0].core_percents"),
        ({"gpus": [], "cpu": "fast"}, "cpu"),
        ({"gpus": [NVIDIA | {"compute_capability": "9." + "9" * 5000}]}, "gpus[0].compute_capability"),
        ({"gpus": [NVIDIA | {"total_memory_mb": 2**50}]}, "gpus[0].total_memory_mb"),
        ({"gpus": [NVIDIA | {"name": "x" * 5000}]}, "gpus[0].name"),
        ({"gpus": [NVIDIA] * 5000}, "gpus"),
        ({"gpus": [NVIDIA | {"processes": [{}] * 5000}]}, "gpus[0].processes"),
    ],
)
def test_what_is_wrong_is_named_by_its_place(document, place: str):
    with pytest.raises(LaunchdeckError) as caught:
        from_document(document)
    assert caught.value.failure.cause is Cause.BAD_REQUEST
    assert f": {place} should be" in str(caught.value)


def test_what_is_not_known_here_is_ignored():
    document = to_document(FULL) | {"comment": {"by": "hand"}}
    document["gpus"][0] |= {"nvlink": [1, 2], "pci_address": ""}
    assert from_document(document).gpus[0].gpu.pci_address is None


def test_a_replay_looks_as_if_taken_now(tmp_path):
    file = tmp_path / "목록.json"
    file.write_text(json.dumps(to_document(FULL)), encoding="utf-8")
    source = ReplaySource.open(file)
    inventory = source.read()
    source.close()
    assert inventory.replayed
    assert [reading.gpu for reading in inventory.gpus] == [RTX.gpu, APU.gpu]
    times_s = {inventory.sampled_at_s, inventory.cpu.sample.sampled_at_s, inventory.gpus[0].sample.sampled_at_s}
    assert len(times_s) == 1
    assert abs(times_s.pop() - time.time()) < 60


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe\x00", b"[" * 100_000, b"null"])
def test_a_file_that_is_no_inventory(tmp_path, content: bytes):
    file = tmp_path / "inventory.json"
    file.write_bytes(content)
    with pytest.raises(LaunchdeckError, match="Record it again"):
        ReplaySource.open(file)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(LaunchdeckError, match=r"missing\.json cannot be read: No such file"):
        ReplaySource.open(tmp_path / "missing.json")


def test_a_pipe_is_read_once():
    """As a shell makes it: `launchdeck gpus --inventory <(ssh host launchdeck gpus --json)`."""
    read, write = os.pipe()
    with os.fdopen(write, "w") as pipe:
        pipe.write(json.dumps(to_document(FULL)))
    try:
        assert ReplaySource.open(Path(f"/dev/fd/{read}")).inventory.gpus == FULL.gpus
    finally:
        os.close(read)


@pytest.mark.timeout(20)
def test_a_pipe_that_lies_somewhere_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(LaunchdeckError, match="not a file"):
        ReplaySource.open(tmp_path / "pipe")


@pytest.mark.parametrize("path", ["/dev/zero", "/dev/null", "/", "/dev/full"])
def test_what_is_no_file_is_a_sentence(path: str):
    with pytest.raises(LaunchdeckError, match=path):
        ReplaySource.open(Path(path))


def test_no_file_is_more_than_a_sentence(tmp_path, record_property):
    """Seeded: values exchanged for others, and cuts, flips and insertions in the text."""
    path = tmp_path / "machine.json"
    whole = to_document(FULL)
    chance = random.Random(12)
    slowest_s, used, sentences = 0.0, 0, set()
    for _ in range(MUTATIONS):
        path.write_bytes(broken(whole, chance))
        began_s = time.monotonic()
        try:
            inventory = ReplaySource.open(path).read()
        except LaunchdeckError as error:
            sentences.add(str(error))
        else:
            json.dumps(to_document(inventory), allow_nan=False).encode()
            used += 1
        slowest_s = max(slowest_s, time.monotonic() - began_s)
    record_property(
        "fuzzed", f"inventory, in sentences: {MUTATIONS} inputs, {used} used, the slowest {slowest_s:.3f} s"
    )
    assert slowest_s < 5 * 2
    assert [s for s in sentences if len(s) > 1000 or not ("machine.json" in s or "recorded inventory" in s)] == []
