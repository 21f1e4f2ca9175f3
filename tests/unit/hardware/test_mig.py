"""A GPU that is divided (MIG) is its slices: what a process gets is one of them, and never the whole card's memory."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace

import pytest

from fakes.nvml import GIB, FakeNvml
from fakes.system import FakeSystem
from launchdeck.domain.errors import LaunchdeckError
from launchdeck.domain.gpu import GpuProcess, Inventory
from launchdeck.domain.request import ModelLoadRequest
from launchdeck.engines.devices.masking import CUDA_MASK, place
from launchdeck.engines.devices.targets import target_gpus
from launchdeck.hardware.cpu import CPUDetector
from launchdeck.hardware.document import from_document, to_document
from launchdeck.hardware.nvidia.detector import NVMLDetector
from launchdeck.hardware.unified import UnifiedGPUDetector

A100 = {"name": "NVIDIA A100-SXM4-80GB", "total": 80 * GIB, "used": 11 * GIB, "major": 8, "minor": 0}
SLICE = 9728 * 2**20


@pytest.fixture
def detector(nvml: FakeNvml, system: FakeSystem, clock):
    detector = UnifiedGPUDetector(detectors=[NVMLDetector(root=system.root, clock=clock), CPUDetector()], clock=clock)
    yield detector
    detector.close()


def asked(inventory: Inventory, *places: int) -> ModelLoadRequest:
    uuids = tuple(inventory.gpus[place].gpu.uuid for place in places)
    return ModelLoadRequest(model_path="/models/m.gguf", gpu_uuids=uuids or None)


def test_its_slices_are_listed_in_its_place(nvml, detector):
    nvml.add_gpu()
    card = nvml.add_gpu(**A100)
    for slot in (0, 2, 5):
        nvml.add_slice(card, slot, used=slot * GIB, compute=f"400000{slot + 1}:{GIB}")
    whole, *slices = detector.read().gpus
    assert (whole.gpu.uuid, whole.gpu.slice_of) == ("GPU-00000000-0000-0000-0000-000000000000", None)
    assert [reading.gpu.uuid[:4] for reading in slices] == ["MIG-"] * 3
    assert {reading.gpu.slice_of for reading in slices} == {"GPU-00000000-0000-0000-0000-000000000001"}
    assert {reading.gpu.pci_address for reading in slices} == {"0000:02:00.0"}
    assert {reading.gpu.name for reading in slices} == {"NVIDIA A100-SXM4-80GB MIG 1g.10gb"}
    assert {reading.gpu.total_memory_bytes for reading in slices} == {SLICE}
    assert {reading.gpu.compute_capability for reading in slices} == {(8, 0)}
    assert [reading.sample.used_memory_bytes for reading in slices] == [0, 2 * GIB, 5 * GIB]
    assert [reading.sample.utilization_percent for reading in slices] == [None] * 3
    assert slices[1].sample.processes == (GpuProcess(4000003, "", GIB),)


def test_slices_can_be_recorded_and_read_back(nvml, detector):
    card = nvml.add_gpu(**A100)
    nvml.add_slice(card, 0)
    nvml.add_slice(card, 1)
    inventory = detector.read()
    again = from_document(to_document(inventory))
    assert [reading.gpu for reading in again.gpus] == [reading.gpu for reading in inventory.gpus]


def test_slices_that_are_made_anew_are_noticed(nvml, detector, clock):
    card = nvml.add_gpu(**A100)
    nvml.add_slice(card, 0)
    assert len(detector.read().gpus) == 1
    nvml.add_slice(card, 1)
    clock.now_s += 11
    assert [reading.gpu.uuid[-1] for reading in detector.read().gpus] == ["0", "1"]
    clock.now_s += 11
    detector.read()
    assert nvml.calls("Init") == 2


def test_a_card_that_is_divided_while_it_is_watched_gives_way_to_its_slices(nvml, clock, system):
    card = nvml.add_gpu(**A100)
    detector = NVMLDetector(root=system.root, clock=clock)
    assert [gpu.slice_of for gpu in detector.get_gpu_list()] == [None]
    nvml.add_slice(card, 0)
    assert [gpu.uuid[:4] for gpu in detector.get_gpu_list()] == ["MIG-"]
    nvml.set(**{f"{card}.mig": 0})
    assert [gpu.uuid[:4] for gpu in detector.get_gpu_list()] == ["GPU-"]
    detector.close()


def test_slices_that_are_gone_count_in_no_mask(nvml, system, clock):
    card = nvml.add_gpu(**A100)
    nvml.add_gpu(**A100)
    nvml.add_slice(card, 0)
    nvml.add_slice(card, 1)
    environ = {"CUDA_VISIBLE_DEVICES": "1"}
    parts = [NVMLDetector(root=system.root, clock=clock), CPUDetector()]
    with closing(UnifiedGPUDetector(detectors=parts, clock=clock, environ=environ)) as detector:
        assert [reading.gpu.ours for reading in detector.read().gpus] == [False] * 3  # which is meant nobody knows
        nvml.set(**{f"{card}.mig": 0})
        clock.now_s += 11
        readings = detector.read().gpus
        assert [str(reading.sample.state) for reading in readings] == ["lost", "lost", "active", "active"]
        assert [reading.gpu.uuid[-1] for reading in readings if reading.gpu.ours] == ["1"]
        machine = [reading.gpu for reading in readings]
        whole = place([machine[2]], machine, numbered=True)
        assert dict(whole.env)[CUDA_MASK] == "1"


def test_a_lost_card_is_not_listed_among_the_slices_of_another(nvml, detector):
    card = nvml.add_gpu(**A100)
    nvml.add_slice(card, 0)
    nvml.add_slice(card, 1)
    nvml.add_gpu(**{"error.Handle": 999})
    nvml.add_gpu()
    assert [str(reading.sample.state) for reading in detector.read().gpus] == ["active", "active", "lost", "active"]


@pytest.mark.parametrize("values", [{}, {"mig_slots": 0}, {"error.MaxMig": 3}, {"error.MigHandle": 3}])
def test_without_a_slice_the_card_is_listed_but_cannot_be_chosen(nvml, detector, values):
    nvml.add_gpu(**A100, mig=1, **values)
    inventory = detector.read()
    (reading,) = inventory.gpus
    assert "divided into slices (MIG)" in str(reading.gpu.problem)
    with pytest.raises(LaunchdeckError, match="none can be used"):
        target_gpus(asked(inventory, 0), inventory, lambda _: True)
    assert target_gpus(asked(inventory), inventory, lambda _: True) == ()
    again = from_document(to_document(inventory))
    assert str(again.gpus[0].gpu.problem) == str(reading.gpu.problem)


def test_a_launch_takes_one_slice_and_nothing_beside_it(nvml, detector):
    nvml.add_gpu()
    card = nvml.add_gpu(**A100)
    nvml.add_slice(card, 0)
    nvml.add_slice(card, 1)
    inventory = detector.read()
    for places in ((1, 2), (0, 1)):
        with pytest.raises(LaunchdeckError, match="one slice of a divided GPU"):
            target_gpus(asked(inventory, *places), inventory, lambda _: True)
    (chosen,) = target_gpus(asked(inventory, 2), inventory, lambda _: True)
    machine = [reading.gpu for reading in inventory.gpus]
    assert dict(place([chosen.gpu], machine).env)[CUDA_MASK] == chosen.gpu.uuid
    with pytest.raises(LaunchdeckError, match="by number"):
        place([chosen.gpu], machine, numbered=True)


def test_a_number_counts_cards_and_not_slices(nvml, detector):
    card = nvml.add_gpu(**A100)
    nvml.add_slice(card, 0)
    nvml.add_slice(card, 1)
    nvml.add_gpu()
    machine = [reading.gpu for reading in detector.read().gpus]
    assert dict(place([machine[2]], machine, numbered=True).env)[CUDA_MASK] == "1"


def test_mig_that_begins_with_the_next_reset_changes_nothing(nvml, detector):
    nvml.add_gpu(**A100, mig=0)
    (reading,) = detector.read().gpus
    assert (reading.gpu.slice_of, reading.gpu.problem) == (None, None)
    assert replace(reading.gpu, index=0) == reading.gpu
