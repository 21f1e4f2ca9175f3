"""A card that fails keeps its place, and moves nobody else's; one that is not ours to use is not listed, but told."""

from __future__ import annotations

import pytest

from fakes.nvml import GIB, FakeNvml
from fakes.system import AMD, FakeSystem
from launchdeck.domain.detection import Outcome
from launchdeck.hardware.amd.sysfs import AMDGPUSysfsDetector
from launchdeck.hardware.cpu import CPUDetector
from launchdeck.hardware.nvidia.detector import NVMLDetector
from launchdeck.hardware.unified import UnifiedGPUDetector

UNKNOWN, NOT_SUPPORTED, NO_PERMISSION, LOST = 999, 3, 4, 15
ADDRESSES = [f"0000:{bus:02x}:00.0" for bus in range(1, 5)]
READINGS = ("Memory", "Utilization", "Temperature", "Power", "PowerLimit", "Clock", "Fan", "Compute", "Graphics")


@pytest.fixture
def detector(nvml: FakeNvml, system: FakeSystem, clock):
    detector = NVMLDetector(root=system.root, clock=clock)
    yield detector
    detector.close()


def four(nvml: FakeNvml, broken: int = 2) -> None:
    for place in range(4):
        nvml.add_gpu(**({"error.Handle": UNKNOWN} if place == broken else {}))


def listed(detector: NVMLDetector) -> list[tuple[str | None, str]]:
    return [(gpu.pci_address, str(detector.get_gpu_info(gpu).state)) for gpu in detector.get_gpu_list()]


@pytest.mark.parametrize("broken", range(4))
def test_a_card_without_a_handle_is_lost_at_its_place(nvml, detector, broken):
    four(nvml, broken)
    wanted = [(address, "active") for address in ADDRESSES]
    wanted[broken] = (None, "lost")
    assert listed(detector) == wanted
    assert detector.get_gpu_list()[broken].uuid == f"nvidia-{broken}"


def test_the_kernel_tells_what_it_is(nvml, system, detector):
    four(nvml)
    for address in ADDRESSES:
        system.add_card(address)
        system.add_nvidia_proc(address, "NVIDIA GeForce GTX 1080 Ti", f"GPU-of-{address}")
    assert listed(detector)[2] == (ADDRESSES[2], "lost")
    gpu = detector.get_gpu_list()[2]
    assert (gpu.name, gpu.uuid) == ("NVIDIA GeForce GTX 1080 Ti", f"GPU-of-{ADDRESSES[2]}")


def test_so_does_its_driver_where_the_bus_is_hidden(nvml, system, detector):
    four(nvml)
    for address in ADDRESSES:
        system.add_nvidia_proc(address, "NVIDIA GeForce GTX 1080 Ti", f"GPU-of-{address}")
    assert listed(detector)[2] == (ADDRESSES[2], "lost")


def test_one_that_fails_later_stays_what_it_was(nvml, detector, clock):
    four(nvml, broken=-1)
    detector.get_gpu_list()
    nvml.set(**{"2.error": UNKNOWN})
    detector.close()
    assert listed(detector)[2] == (ADDRESSES[2], "lost")
    assert detector.get_gpu_list()[2].total_memory_bytes == 24 * GIB
    nvml.set(**{"2.error": None})
    clock.now_s += 61
    assert listed(detector)[2] == (ADDRESSES[2], "active")


def test_one_that_answers_later_takes_the_place_that_was_kept_for_it(nvml, system, clock):
    four(nvml)
    unified = UnifiedGPUDetector(detectors=[NVMLDetector(root=system.root, clock=clock), CPUDetector()], clock=clock)
    assert [str(reading.sample.state) for reading in unified.read().gpus] == ["active", "active", "lost", "active"]
    nvml.set(**{"2.error.Handle": None})
    clock.now_s += 61
    readings = unified.read().gpus
    assert [(reading.gpu.index, reading.gpu.pci_address) for reading in readings] == list(enumerate(ADDRESSES))
    assert [str(reading.sample.state) for reading in readings] == ["active"] * 4
    unified.close()


@pytest.mark.parametrize("beyond", [None, UNKNOWN, LOST])
def test_where_the_driver_does_not_count_there_are_as_many_as_answer(nvml, detector, beyond):
    four(nvml, broken=-1)
    nvml.set(count_error=UNKNOWN, beyond=beyond)
    assert listed(detector) == [(address, "active") for address in ADDRESSES]
    assert detector.step.outcome is Outcome.FOUND
    assert "does not say how many GPUs" in str(detector.step.reason)
    nvml.set(count_error=None)
    assert len(detector.get_gpu_list()) == 4
    assert detector.step.reason is None
    assert nvml.calls("Init") == 1


@pytest.mark.parametrize("broken", [0, 1])
def test_nor_is_one_invented_where_the_first_already_fails(nvml, detector, broken):
    four(nvml, broken)
    nvml.set(count_error=UNKNOWN, beyond=UNKNOWN)
    assert listed(detector) == [(address, "active") for address in ADDRESSES[:broken]]
    assert "does not say how many GPUs" in str(detector.step.reason)


def test_those_that_were_counted_before_are_asked_for_all_the_same(nvml, detector):
    four(nvml, broken=-1)
    detector.get_gpu_list()
    detector.close()
    nvml.set(**{"count_error": UNKNOWN, "beyond": UNKNOWN, "1.error": UNKNOWN})
    assert [state for _, state in listed(detector)] == ["active", "lost", "active", "active"]


def test_the_driver_knows_their_addresses_where_it_does_not_count_them(nvml, system, detector):
    four(nvml)
    nvml.set(count_error=UNKNOWN, beyond=UNKNOWN)
    for address in ADDRESSES:
        system.add_nvidia_proc(address, "NVIDIA GeForce GTX 1080 Ti", f"GPU-of-{address}")
    assert [state for _, state in listed(detector)] == ["active", "active", "lost", "active"]


def test_a_card_that_this_user_may_not_open_is_not_listed(nvml, detector):
    nvml.add_gpu()
    nvml.add_gpu(**{"error.Handle": NO_PERMISSION})
    assert listed(detector) == [(ADDRESSES[0], "active")]


@pytest.mark.parametrize("with_kernel", [True, False])
def test_a_card_of_which_nothing_can_be_read_at_all_is_lost(nvml, system, detector, with_kernel):
    if with_kernel:
        system.add_card(ADDRESSES[0])
    nvml.add_gpu(**{f"error.{call}": UNKNOWN for call in (*READINGS, "Name", "UUID", "Pci")})
    assert listed(detector) == [(ADDRESSES[0] if with_kernel else None, "lost")]


def test_a_card_of_which_nothing_can_be_read_any_more_is_lost(nvml, detector):
    nvml.add_gpu()
    assert listed(detector) == [(ADDRESSES[0], "active")]
    nvml.set(**{f"0.error.{call}": UNKNOWN for call in READINGS})
    assert listed(detector) == [(ADDRESSES[0], "lost")]
    nvml.set(**{f"0.error.{call}": None for call in READINGS})
    assert listed(detector) == [(ADDRESSES[0], "active")]


def test_a_card_that_measures_nothing_is_not(nvml, detector):
    nvml.add_gpu(**{f"error.{call}": NOT_SUPPORTED for call in READINGS})
    assert listed(detector) == [(ADDRESSES[0], "active")]


@pytest.mark.parametrize(("driver", "words"), [
    ("vfio-pci", "0000:02:00.0 is reserved for a virtual machine (vfio-pci)."),
    ("nouveau", "0000:02:00.0 is run by nouveau: no model can use it until its vendor's driver is loaded."),
    (None, "0000:02:00.0 has no driver."),
])  # fmt: skip
@pytest.mark.parametrize("status", ["active", "suspended"])
def test_a_card_that_another_driver_has_is_told_and_not_listed(nvml, system, detector, driver, words, status):
    nvml.add_gpu()
    system.add_card(ADDRESSES[0], driver="nvidia")
    system.add_card(ADDRESSES[1], driver=driver, status=status)
    assert listed(detector) == [(ADDRESSES[0], "active")]
    assert (detector.step.outcome, str(detector.step.reason)) == (Outcome.FOUND, words)


def test_all_of_them_are_told_beside_what_is_wrong_with_the_driver(monkeypatch, nvml, system, detector):
    monkeypatch.delenv("LAUNCHDECK_FAKE_NVML")
    system.add_card(ADDRESSES[0], driver="vfio-pci")
    system.add_card(ADDRESSES[1], driver="nouveau")
    assert detector.get_gpu_list() == []
    said = str(detector.step.reason)
    assert "No NVIDIA driver is installed." in said
    assert f"{ADDRESSES[0]} is reserved" in said
    assert f"{ADDRESSES[1]} is run by nouveau" in said


def test_an_amd_card_of_another_driver_is_told_and_not_listed(system):
    system.add_amd("0000:03:00.0")
    system.add_card("0000:04:00.0", AMD, driver="vfio-pci")
    folder = system.root / "sys/bus/pci/drivers/amdgpu"
    folder.mkdir()
    (system.root / "sys/bus/pci/devices/0000:03:00.0/driver").symlink_to(folder)
    detector = AMDGPUSysfsDetector(root=system.root)
    assert [gpu.pci_address for gpu in detector.get_gpu_list()] == ["0000:03:00.0"]
    assert str(detector.step.reason) == "0000:04:00.0 is reserved for a virtual machine (vfio-pci)."


def test_a_card_that_comes_back_from_a_virtual_machine_is_listed(nvml, system, detector):
    nvml.add_gpu()
    system.add_card(ADDRESSES[0], driver="vfio-pci")
    system.add_card("0000:00:02.0", AMD, driver="amdgpu")
    nvml.set(count=0)
    assert detector.get_gpu_list() == []
    nvml.set(count=1)
    system.remove_card(ADDRESSES[0])
    system.add_card(ADDRESSES[0], driver="nvidia")
    assert listed(detector) == [(ADDRESSES[0], "active")]
    assert detector.step.reason is None
