"""AMD GPUs by the files of the kernel's driver."""

from __future__ import annotations

import psutil
import pytest

from fakes.system import GIB, NVIDIA, FakeSystem
from launchdeck.domain.detection import Outcome
from launchdeck.domain.gpu import GpuState, GpuType
from launchdeck.hardware.amd.sysfs import AMDGPUSysfsDetector

CARD = "0000:03:00.0"
NAMES = "# List of AMDGPU IDs\n1.0.0\n744C,\tC8,\tAMD Radeon RX 7900 XTX\n744C,\tCC,\tAMD Radeon RX 7900 XT"


@pytest.fixture
def detector(system: FakeSystem, clock) -> AMDGPUSysfsDetector:
    return AMDGPUSysfsDetector(root=system.root, clock=clock)


def only(detector: AMDGPUSysfsDetector):
    (gpu,) = detector.get_gpu_list()
    return gpu, detector.get_gpu_info(gpu)


def test_no_card(system, detector):
    system.add_card("0000:01:00.0", NVIDIA)
    assert detector.get_gpu_list() == []
    assert not detector.is_available()
    assert detector.step.outcome is Outcome.EMPTY


def test_everything_that_is_known_of_a_card(system, detector):
    system.add_amd(CARD)
    system.write("usr/share/libdrm/amdgpu.ids", NAMES)
    gpu, sample = only(detector)
    assert detector.step.outcome is Outcome.FOUND
    assert (gpu.name, gpu.uuid, gpu.pci_address) == ("AMD Radeon RX 7900 XTX", "GPU-a1b2c3d4e5f60718", CARD)
    assert (gpu.gpu_type, gpu.total_memory_bytes, gpu.integrated) == (GpuType.AMD, 24 * GIB, False)
    assert (sample.used_memory_bytes, sample.free_memory_bytes) == (3 * GIB, 21 * GIB)
    assert (sample.utilization_percent, sample.temperature_c) == (17, 52)
    assert (sample.power_watts, sample.power_limit_watts) == (95.0, 303.0)
    assert (sample.graphics_clock_mhz, sample.memory_clock_mhz, sample.fan_percent) == (2304, 1249, 40)


def test_a_card_without_a_name_has_its_number(system, detector):
    system.add_amd(CARD)
    assert only(detector)[0].name == "AMD GPU 744C"


def test_an_apu_may_use_the_ram_besides_its_vram(system, detector):
    system.add_amd(CARD, integrated=True, unique_id=None, mem_info_vram_total=GIB // 2, mem_info_vram_used=GIB // 4)
    gpu, sample = only(detector)
    assert gpu.integrated
    assert gpu.uuid == CARD
    assert gpu.total_memory_bytes == GIB // 2 + 16 * GIB
    assert sample.used_memory_bytes == GIB // 4 + GIB
    assert sample.free_memory_bytes <= GIB // 4 + min(15 * GIB, psutil.virtual_memory().total)


@pytest.mark.parametrize(
    ("file", "field"),
    [("mem_info_vram_used", "used_memory_bytes"), ("gpu_busy_percent", "utilization_percent"),
     ("hwmon__hwmon4__temp1_input", "temperature_c"), ("hwmon__hwmon4__power1_average", "power_watts"),
     ("hwmon__hwmon4__power1_cap", "power_limit_watts")],
)  # fmt: skip
@pytest.mark.parametrize("content", [None, "", "not supported"])
def test_what_cannot_be_read_is_none(system, detector, file, field, content):
    system.add_amd(CARD, **{file: content})
    assert getattr(only(detector)[1], field) is None


def test_power_of_the_moment_where_there_is_no_average(system, detector):
    system.add_amd(CARD, hwmon__hwmon4__power1_average=None, hwmon__hwmon4__power1_input=60_500_000)
    assert only(detector)[1].power_watts == 60.5


def test_a_sleeping_card_is_left_alone_and_known_again_when_awake(system, detector):
    system.add_amd(CARD)
    system.set_status(CARD, "suspended")
    gpu, sample = only(detector)
    assert (gpu.total_memory_bytes, sample.state, sample.utilization_percent) == (None, GpuState.ASLEEP, None)
    system.set_status(CARD, "active")
    gpu, sample = only(detector)
    assert (gpu.total_memory_bytes, sample.state) == (24 * GIB, GpuState.ACTIVE)


def states(detector: AMDGPUSysfsDetector, clock, seconds: int) -> set[GpuState]:
    (gpu,) = detector.get_gpu_list()
    seen = set()
    for _ in range(seconds):
        seen.add(detector.get_gpu_info(gpu).state)
        clock.now_s += 1
    return seen


IDLE = {"gpu_busy_percent": 0, "mem_info_vram_used": GIB // 16, "power__control": "auto"}


def test_an_idle_card_is_left_alone_so_that_it_falls_asleep(system, detector, clock):
    system.add_amd(CARD, **IDLE)
    assert states(detector, clock, 59) == {GpuState.ACTIVE}
    assert GpuState.ASLEEP in states(detector, clock, 5)


@pytest.mark.parametrize(
    "files",
    [{"gpu_busy_percent": 4}, {"mem_info_vram_used": 3 * GIB}, {"power__control": "on"},
     {"drm__card1__card1-DP-1__status": "connected"}],
)  # fmt: skip
def test_a_card_with_work_or_without_sleep_is_read_all_the_time(system, detector, clock, files):
    system.add_amd(CARD, **(IDLE | files))
    assert states(detector, clock, 200) == {GpuState.ACTIVE}


def test_a_card_that_is_pulled_out_is_lost(system, detector):
    system.add_amd(CARD)
    (gpu,) = detector.get_gpu_list()
    system.remove_card(CARD)
    assert detector.get_gpu_info(gpu).state is GpuState.LOST
    assert detector.get_gpu_list() == []
