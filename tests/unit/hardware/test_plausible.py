"""What cannot have been measured was not: whichever driver said it, and whatever comes of it in a plan."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes.detector import Detector
from fakes.nvml import GIB, FakeNvml
from fakes.samples import LLAMA_SERVER
from fakes.system import FakeSystem
from launchdeck.domain.gpu import Gpu, GpuProcess, GpuSample, GpuType
from launchdeck.engines.devices.devices import Machine, engine_devices
from launchdeck.hardware.amd.sysfs import AMDGPUSysfsDetector
from launchdeck.hardware.cpu import CPUDetector
from launchdeck.hardware.document import from_document, to_document
from launchdeck.hardware.nvidia.detector import NVMLDetector
from launchdeck.hardware.plausible import plausible_gpu, plausible_sample
from launchdeck.hardware.unified import UnifiedGPUDetector

ALL_ONES_32, ALL_ONES_64 = 2**32 - 1, 2**64 - 1
CARD = Gpu(0, "GPU-1", "0000:01:00.0", "RTX 4090", GpuType.NVIDIA, 24 * GIB)
USUAL = GpuSample(
    1.0,
    used_memory_bytes=2 * GIB,
    free_memory_bytes=22 * GIB,
    utilization_percent=43,
    temperature_c=61,
    power_watts=210.5,
    power_limit_watts=450.0,
    graphics_clock_mhz=2520,
    memory_clock_mhz=14_001,
    fan_percent=38,
    processes=(GpuProcess(4_000_001, "llama-server", 2 * GIB), GpuProcess(7, "X", None)),
)
METRICS = (
    "utilization_percent", "temperature_c", "power_watts", "power_limit_watts", "graphics_clock_mhz",
    "memory_clock_mhz", "fan_percent",
)  # fmt: skip


def read(*detectors):
    unified = UnifiedGPUDetector(detectors=[*detectors, CPUDetector()])
    try:
        return unified.read()
    finally:
        unified.close()


def test_what_can_be_stays_as_it_is():
    assert plausible_gpu(CARD) is CARD
    assert plausible_sample(CARD, USUAL) == USUAL


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("value", [ALL_ONES_32, ALL_ONES_64, -1000])
def test_a_number_that_cannot_be_costs_itself_alone(metric: str, value: int):
    assert plausible_sample(CARD, replace(USUAL, **{metric: value})) == replace(USUAL, **{metric: None})


@pytest.mark.parametrize(("used", "free"), [
    (25 * GIB, 22 * GIB), (ALL_ONES_64, 22 * GIB), (-1, 22 * GIB), (25 * GIB, 0), (20 * GIB, 20 * GIB),
])  # fmt: skip
def test_more_in_use_than_there_is_leaves_nothing_known_of_the_memory(used: int, free: int):
    sample = plausible_sample(CARD, replace(USUAL, used_memory_bytes=used, free_memory_bytes=free))
    assert (sample.used_memory_bytes, sample.free_memory_bytes) == (None, None)
    assert sample.temperature_c == 61


@pytest.mark.parametrize("over", [1, 8 * 2**20, 24 * GIB // 100])
@pytest.mark.parametrize("free", [0, 2**64 - 1, None])
def test_what_is_a_little_more_than_there_is_is_all_of_it(over: int, free: int | None):
    sample = plausible_sample(CARD, replace(USUAL, used_memory_bytes=24 * GIB + over, free_memory_bytes=free))
    assert (sample.used_memory_bytes, sample.free_memory_bytes) == (24 * GIB, 0)


def test_so_is_what_is_free_and_what_a_process_has():
    holds = (GpuProcess(7, "X", 24 * GIB + 4096),)
    told = replace(USUAL, used_memory_bytes=0, free_memory_bytes=24 * GIB + 4096, processes=holds)
    sample = plausible_sample(CARD, told)
    assert (sample.free_memory_bytes, sample.processes[0].used_memory_bytes) == (24 * GIB, 24 * GIB)


def test_on_a_small_gpu_a_few_mib_are_a_little():
    small = replace(CARD, total_memory_bytes=GIB // 4)
    told = replace(USUAL, used_memory_bytes=GIB // 4 + 8 * 2**20, free_memory_bytes=0)
    assert plausible_sample(small, told).used_memory_bytes == GIB // 4


def test_free_memory_that_cannot_be_leaves_what_is_in_use():
    sample = plausible_sample(CARD, replace(USUAL, free_memory_bytes=ALL_ONES_64))
    assert (sample.used_memory_bytes, sample.free_memory_bytes) == (2 * GIB, None)


@pytest.mark.parametrize("total", [0, ALL_ONES_64, -1])
def test_a_size_that_cannot_be_is_not_known(total: int):
    assert plausible_gpu(replace(CARD, total_memory_bytes=total)).total_memory_bytes is None


def test_processes_that_cannot_be_are_dropped_and_sizes_that_cannot_be_are_not_known():
    told = (
        GpuProcess(0, "", 5), GpuProcess(ALL_ONES_32, "", 5), GpuProcess(-1, "", 5),
        GpuProcess(1, "init", ALL_ONES_64), GpuProcess(2, "python", 25 * GIB), GpuProcess(3, "X", 5),
    )  # fmt: skip
    assert plausible_sample(CARD, replace(USUAL, processes=told)).processes == (
        GpuProcess(1, "init", None),
        GpuProcess(2, "python", None),
        GpuProcess(3, "X", 5),
    )


numbers = st.none() | st.integers(-(2**70), 2**70)


@given(st.fixed_dictionaries(dict.fromkeys((*METRICS, "used_memory_bytes", "free_memory_bytes"), numbers)))
def test_whatever_a_driver_says_what_is_left_can_be_recorded_and_read_back(values):
    sample = plausible_sample(CARD, GpuSample(1.0, **values))
    assert (sample.used_memory_bytes or 0) + (sample.free_memory_bytes or 0) <= 25 * GIB
    inventory = read(Detector("Any", GpuType.NVIDIA, CARD, **values))
    again = from_document(to_document(inventory))
    assert [reading.gpu for reading in again.gpus] == [reading.gpu for reading in inventory.gpus]
    assert again.gpus[0].sample.temperature_c == inventory.gpus[0].sample.temperature_c


def test_another_source_fills_in_what_one_cannot_have_measured():
    first = Detector("First", GpuType.NVIDIA, CARD, utilization_percent=ALL_ONES_32, temperature_c=50)
    second = Detector("Second", GpuType.NVIDIA, CARD, utilization_percent=17, temperature_c=99)
    (reading,) = read(first, second).gpus
    assert (reading.sample.utilization_percent, reading.sample.temperature_c) == (17, 50)


def test_nvmls_nonsense_is_not_measurable_and_no_reason_to_place_anything(nvml: FakeNvml, system: FakeSystem):
    nvml.add_gpu(
        used=32 * GIB, util=ALL_ONES_32, temp=ALL_ONES_32, power=ALL_ONES_32, limit=ALL_ONES_32, clock=ALL_ONES_32,
        memory_clock=ALL_ONES_32, fan=ALL_ONES_32, compute=f"0:5,{ALL_ONES_32}:5,4000001:{ALL_ONES_64 - 1}",
    )  # fmt: skip
    (reading,) = read(NVMLDetector(root=system.root)).gpus
    sample = reading.sample
    assert (sample.used_memory_bytes, sample.free_memory_bytes) == (None, None)
    assert [getattr(sample, metric) for metric in METRICS] == [None] * len(METRICS)
    assert sample.processes == (GpuProcess(4000001, "", None),)
    (device,) = engine_devices(LLAMA_SERVER, [reading], (), Machine.of_gpus([reading.gpu]))
    assert (device.free_bytes, device.is_guess) == (24 * GIB, True)  # no more than the card has


def test_the_kernels_nonsense_is_not_measurable(system: FakeSystem):
    system.add_amd("0000:03:00.0", mem_info_vram_used=25 * GIB, gpu_busy_percent=ALL_ONES_32)
    (reading,) = read(AMDGPUSysfsDetector(root=system.root)).gpus
    assert (reading.sample.used_memory_bytes, reading.sample.free_memory_bytes) == (None, None)
    assert reading.sample.utilization_percent is None


def test_an_older_recording_is_read_without_its_nonsense():
    document = to_document(read(Detector("Any", GpuType.NVIDIA, CARD, used_memory_bytes=2 * GIB)))
    document["gpus"][0] |= {"used_memory_mb": 99_999, "free_memory_mb": 0, "utilization_percent": ALL_ONES_32}
    document["gpus"][0]["processes"] = [{"pid": 0, "name": "", "used_memory_mb": 1}]
    (reading,) = from_document(document).gpus
    assert (reading.sample.used_memory_bytes, reading.sample.free_memory_bytes) == (None, None)
    assert (reading.sample.utilization_percent, reading.sample.processes) == (None, ())
