"""Masks that were set before Launchdeck started: which GPUs they leave to it, by the rules of the libraries that obey
them.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace

import pytest

from fakes.detector import Detector
from launchdeck.domain.gpu import Gpu, GpuType
from launchdeck.hardware.bus_order import by_bus
from launchdeck.hardware.cpu import CPUDetector
from launchdeck.hardware.masks import Resolved, resolve
from launchdeck.hardware.unified import UnifiedGPUDetector

GIB = 2**30


def geforce(place: int, bus: int, name: str = "RTX 4090", uuid: str | None = None) -> Gpu:
    return Gpu(place, uuid or f"GPU-{bus:08x}-1111", f"0000:{bus:02x}:00.0", name, GpuType.NVIDIA, 24 * GIB)


def radeon(place: int, bus: int, *, hip_id: int | None = None, uuid: str | None = None) -> Gpu:
    return Gpu(
        place, uuid or f"GPU-{bus:016x}", f"0000:{bus:02x}:00.0", "RX 7900", GpuType.AMD, 24 * GIB, hip_id=hip_id
    )


# Their places in our list are not those on the bus, by which CUDA counts.
ALIKE = (geforce(0, 0x41), geforce(1, 0x01), geforce(2, 0x81))
UNLIKE = (geforce(0, 0x01, "RTX 2080"), geforce(1, 0x41, "H100"))
RADEONS = (radeon(0, 0x43), radeon(1, 0x03), radeon(2, 0x83))


def ours(gpus: tuple[Gpu, ...], **environ: str) -> list[int]:
    return [gpu.index for gpu in resolve(gpus, environ).gpus if gpu.ours]


def hidden_by(resolved: Resolved) -> list[str | None]:
    return [gpu.hidden_by and gpu.hidden_by.setting for gpu in resolved.gpus]


def test_without_a_mask_everything_is_ours():
    resolved = resolve(ALIKE + RADEONS, {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "PATH": "/bin"})
    assert resolved == Resolved(ALIKE + RADEONS)


@pytest.mark.parametrize(
    ("mask", "left"),
    [
        ("0", [1]),
        ("2,0", [1, 2]),
        (" 1 , 2 ", [0, 2]),
        ("", []),
        (" ", []),
        ("-1", []),
        ("0,-1,2", [1]),
        ("7", []),
        ("1,7,0", [0]),
        ("1,nonsense,0", [0]),
        ("1cards,0", [0, 1]),  # read as C reads a number
        ("0,0", []),  # CUDA takes a list with a repetition for none
        ("NoDevFiles", []),
        ("9" * 5000, []),
        ("GPU-00000081-1111", [2]),
        ("GPU-00000081", [2]),
        ("GPU-00000081,GPU-00000001", [1, 2]),
        ("GPU-", []),  # stands for all of them, and so for none
        ("GPU-ffff,GPU-00000001", []),
        ("GPU-00000001,GPU-00000001-1111", []),
        ("GPU-00000001,0", [1]),
        ("0,GPU-00000081", [1]),
    ],
)
def test_what_cuda_is_left_of_cards_that_are_alike(mask: str, left: list[int]):
    assert ours(ALIKE, CUDA_VISIBLE_DEVICES=mask) == left
    assert ours(ALIKE, CUDA_VISIBLE_DEVICES=mask, CUDA_DEVICE_ORDER="PCI_BUS_ID") == left


def test_a_hidden_gpu_names_what_hides_it():
    resolved = resolve(ALIKE, {"CUDA_VISIBLE_DEVICES": "1"})
    assert hidden_by(resolved) == [None, "CUDA_VISIBLE_DEVICES=1", "CUDA_VISIBLE_DEVICES=1"]
    assert [gpu.ours for gpu in resolved.gpus] == [True, False, False]
    assert resolved.warnings == ()


def test_a_mask_without_anything_in_it_can_be_read():
    assert hidden_by(resolve(ALIKE[:1], {"CUDA_VISIBLE_DEVICES": ""})) == ['CUDA_VISIBLE_DEVICES=""']
    (long,) = hidden_by(resolve(ALIKE[:1], {"CUDA_VISIBLE_DEVICES": "7\n" * 5000}))
    assert (long[:24], len(long)) == ("CUDA_VISIBLE_DEVICES=7?7", 101)


def test_an_entry_that_names_no_gpu_is_told():
    (warning,) = resolve(ALIKE, {"CUDA_VISIBLE_DEVICES": "1,7,0"}).warnings
    assert "CUDA_VISIBLE_DEVICES=1,7,0" in str(warning)
    assert "7 " in str(warning)
    assert resolve(ALIKE, {"CUDA_VISIBLE_DEVICES": "-1"}).warnings == ()


def test_numbers_of_unlike_cards_are_clear_in_the_order_of_the_bus_alone():
    assert ours(UNLIKE, CUDA_VISIBLE_DEVICES="0", CUDA_DEVICE_ORDER="PCI_BUS_ID") == [0]
    resolved = resolve(UNLIKE, {"CUDA_VISIBLE_DEVICES": "0"})
    assert [gpu.ours for gpu in resolved.gpus] == [False, False]
    assert hidden_by(resolved) == ["CUDA_VISIBLE_DEVICES=0"] * 2
    (warning,) = resolved.warnings
    assert "CUDA_DEVICE_ORDER=PCI_BUS_ID" in str(warning)
    assert all(gpu.hidden_by.doubt == warning for gpu in resolved.gpus)
    assert ours(UNLIKE, CUDA_VISIBLE_DEVICES="0", CUDA_DEVICE_ORDER="FASTEST_FIRST") == []


def test_cards_of_one_name_and_two_sizes_are_unlike():
    small, large = geforce(0, 0x01, "RTX 3080"), geforce(1, 0x41, "RTX 3080")
    sized = (replace(small, total_memory_bytes=10 * GIB), replace(large, total_memory_bytes=12 * GIB))
    assert ours(sized, CUDA_VISIBLE_DEVICES="0") == []
    assert ours(sized, CUDA_VISIBLE_DEVICES="0", CUDA_DEVICE_ORDER="PCI_BUS_ID") == [0]
    rounded = (small, replace(large, total_memory_bytes=24 * GIB - 2**20), geforce(2, 0x81, "RTX 3080"))
    assert ours(rounded, CUDA_VISIBLE_DEVICES="1") == [1]
    lost = replace(large, total_memory_bytes=None)
    assert ours((small, lost), CUDA_VISIBLE_DEVICES="1") == [1]


def test_a_card_without_an_address_is_counted_where_its_driver_has_it():
    nameless = Gpu(2, "nvidia-1", None, "RTX 4090", GpuType.NVIDIA, None)
    cards = (geforce(0, 0x01), geforce(1, 0x41), nameless, geforce(3, 0x81))
    assert [gpu.index for gpu in by_bus(cards)] == [0, 2, 1, 3]
    assert ours(cards, CUDA_VISIBLE_DEVICES="0,2") == [0, 1]
    shown = (geforce(0, 0x01), replace(geforce(1, 0x41), pci_address=None), geforce(2, 0x81))
    assert [gpu.index for gpu in by_bus(shown)] == [0, 1, 2]


def test_numbers_that_leave_all_or_none_are_clear_for_any_cards():
    assert ours(UNLIKE, CUDA_VISIBLE_DEVICES="1,0") == [0, 1]
    assert resolve(UNLIKE, {"CUDA_VISIBLE_DEVICES": "-1"}).warnings == ()
    assert ours(UNLIKE, CUDA_VISIBLE_DEVICES="GPU-00000041") == [1]


def test_the_parts_of_a_gpu_are_known_by_their_uuids():
    parts = (geforce(0, 0x01, "A100 1g", "MIG-aaaa-1"), geforce(1, 0x01, "A100 1g", "MIG-bbbb-2"))
    assert ours(parts, CUDA_VISIBLE_DEVICES="MIG-bbbb") == [1]
    assert ours(parts, CUDA_VISIBLE_DEVICES="MIG-cccc") == []
    resolved = resolve(parts, {"CUDA_VISIBLE_DEVICES": "0", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"})
    assert not any(gpu.ours for gpu in resolved.gpus)
    assert "UUID" in str(resolved.warnings[0])


def test_a_mask_that_names_a_divided_card_is_told_what_to_name():
    card = "GPU-00000001-1111"
    parts = [replace(geforce(place, 0x01, "A100 1g", f"MIG-{place}"), slice_of=card) for place in range(2)]
    resolved = resolve([*parts, geforce(2, 0x41)], {"CUDA_VISIBLE_DEVICES": "GPU-00000041,GPU-00000001"})
    assert [gpu.index for gpu in resolved.gpus if gpu.ours] == [2]
    (warning,) = resolved.warnings
    assert "GPU-00000001" in str(warning)
    assert "MIG" in str(warning)
    assert resolved.gpus[0].hidden_by.doubt == warning


@pytest.mark.parametrize("mask", ["HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "GPU_DEVICE_ORDINAL"])
@pytest.mark.parametrize(
    ("value", "left"), [("0", [1]), ("1,2", [0, 2]), ("-1", []), ("2,9,0", [2]), ("GPU-0000000000000043", [0])]
)
def test_what_rocm_is_left(mask: str, value: str, left: list[int]):
    resolved = resolve(RADEONS, {mask: value})
    assert [gpu.index for gpu in resolved.gpus if gpu.ours] == left
    assert set(hidden_by(resolved)) - {None} == {f"{mask}={value}"}


def test_an_empty_mask_hides_nothing_from_hip_and_everything_from_rocr():
    assert ours(RADEONS, HIP_VISIBLE_DEVICES="") == [0, 1, 2]
    assert ours(RADEONS, CUDA_VISIBLE_DEVICES="") == [0, 1, 2]
    assert ours(RADEONS, ROCR_VISIBLE_DEVICES="") == []


def test_hip_obeys_cudas_mask_where_it_has_none_of_its_own():
    assert ours(RADEONS, CUDA_VISIBLE_DEVICES="0") == [1]
    assert ours(RADEONS, CUDA_VISIBLE_DEVICES="0", HIP_VISIBLE_DEVICES="1") == [0]
    mixed = (geforce(0, 0x01), geforce(1, 0x02), radeon(2, 0x03), radeon(3, 0x04))
    assert ours(mixed, CUDA_VISIBLE_DEVICES="1") == [1, 3]
    assert ours(mixed, CUDA_VISIBLE_DEVICES="GPU-00000002") == [1]
    assert ours(mixed, CUDA_VISIBLE_DEVICES="1", HIP_VISIBLE_DEVICES="0") == [1, 2]


def test_masks_stack():
    """HIP counts what ROCr has left, in the order in which that mask names it."""
    assert ours(RADEONS, ROCR_VISIBLE_DEVICES="2,0", HIP_VISIBLE_DEVICES="0") == [2]
    resolved = resolve(RADEONS, {"ROCR_VISIBLE_DEVICES": "2,0", "HIP_VISIBLE_DEVICES": "1"})
    assert hidden_by(resolved) == ["ROCR_VISIBLE_DEVICES=2,0", None, "HIP_VISIBLE_DEVICES=1"]
    assert ours(RADEONS, ROCR_VISIBLE_DEVICES="1", HIP_VISIBLE_DEVICES="1") == []


def test_what_a_batch_system_sets_twice_hides_no_more():
    """OpenCL's mask counts where no other is set: HIP does not read it."""
    assert ours(RADEONS, ROCR_VISIBLE_DEVICES="2", GPU_DEVICE_ORDINAL="2") == [2]
    assert ours(RADEONS, HIP_VISIBLE_DEVICES="1", GPU_DEVICE_ORDINAL="0") == [0]


def test_rocr_reads_numbers_as_c_does_and_uuids_in_any_case():
    assert ours(RADEONS, ROCR_VISIBLE_DEVICES="0x2") == [2]
    assert ours(RADEONS, ROCR_VISIBLE_DEVICES="gpu-000000000000008") == [2]
    assert ours(RADEONS, ROCR_VISIBLE_DEVICES="GPU-00") == []
    assert ours(RADEONS, ROCR_VISIBLE_DEVICES="1,1,2") == [0]


def test_hips_own_numbers_count_where_they_are_known():
    gpus = (radeon(0, 0x03, hip_id=1), radeon(1, 0x43, hip_id=0))
    assert ours(gpus, HIP_VISIBLE_DEVICES="0") == [1]
    assert ours(gpus, ROCR_VISIBLE_DEVICES="1") == [0]


def test_the_detector_applies_them_and_a_card_that_comes_later_is_counted():
    late = geforce(0, 0x01)
    library = Detector("NVMLDetector", GpuType.NVIDIA, geforce(0, 0x41), geforce(1, 0x81))
    now_s = [0.0]
    detector = UnifiedGPUDetector(
        detectors=[library, CPUDetector()], clock=lambda: now_s[0], environ={"CUDA_VISIBLE_DEVICES": "1"}
    )
    with closing(detector):
        assert [reading.gpu.ours for reading in detector.read().gpus] == [False, True]
        library.gpus = [late, *library.gpus]
        now_s[0] = 100.0
        readings = detector.read().gpus
        assert [(r.gpu.pci_address[5:7], r.gpu.ours) for r in readings] == [("41", True), ("81", False), ("01", False)]
        assert detector.get_gpu_list() == [reading.gpu for reading in readings]
