"""NVIDIA GPUs through the real Python bindings and a driver whose answers the test writes."""

from __future__ import annotations

import os
import time

import psutil
import pytest

from fakes.nvml import GIB, FakeNvml
from fakes.system import AMD, FakeSystem
from launchdeck.domain.detection import Outcome
from launchdeck.domain.gpu import GpuProcess, GpuState
from launchdeck.hardware.nvidia.detector import NVMLDetector

FIRST, SECOND = "0000:01:00.0", "0000:02:00.0"
NOT_SUPPORTED, NO_PERMISSION, UNKNOWN, LOST, MISMATCH, NOT_LOADED, UNINITIALIZED = 3, 4, 999, 15, 18, 9, 1


@pytest.fixture
def detector(nvml: FakeNvml, system: FakeSystem, clock):
    detector = NVMLDetector(root=system.root, clock=clock)
    yield detector
    nvml.set(**{"delay_ms.Shutdown": None})
    detector.close()


def only(detector: NVMLDetector):
    (gpu,) = detector.get_gpu_list()
    return gpu, detector.get_gpu_info(gpu)


def test_no_gpu(detector):
    assert detector.get_gpu_list() == []
    assert not detector.is_available()
    assert detector.step.outcome is Outcome.EMPTY


def test_everything_that_is_known_of_one_gpu(nvml, detector):
    nvml.add_gpu()
    gpu, sample = only(detector)
    assert (detector.step.outcome, detector.step.version) == (Outcome.FOUND, "580.95.05")
    assert (gpu.index, gpu.uuid) == (0, "GPU-00000000-0000-0000-0000-000000000000")
    assert (gpu.name, gpu.pci_address) == ("NVIDIA GeForce RTX 4090", FIRST)
    assert (gpu.total_memory_bytes, gpu.integrated) == (24 * GIB, False)
    assert (gpu.driver_version, gpu.compute_capability) == ("580.95.05", (8, 9))
    assert sample.used_memory_bytes == 2 * GIB
    assert sample.free_memory_bytes == 24 * GIB - 2 * GIB - GIB // 2
    assert (sample.utilization_percent, sample.temperature_c) == (43, 61)
    assert (sample.power_watts, sample.power_limit_watts) == (210.5, 450.0)
    assert (sample.graphics_clock_mhz, sample.memory_clock_mhz, sample.fan_percent) == (2520, 10501, 38)
    assert sample.state is GpuState.ACTIVE
    assert abs(sample.sampled_at_s - time.time()) < 60


def test_a_sample_is_fresh(nvml, detector):
    nvml.add_gpu()
    only(detector)
    nvml.set(**{"0.used": 7 * GIB, "0.util": 0})
    _, sample = only(detector)
    assert (sample.used_memory_bytes, sample.utilization_percent) == (7 * GIB, 0)


def test_eight_gpus_in_pci_order(nvml, detector):
    for bus in (0xC1, 0x41, 0x81, 0x01, 0xA1, 0x21, 0x61, 0xE1):
        nvml.add_gpu(bus_id=f"00000000:{bus:02X}:00.0", total=80 * GIB, name="NVIDIA H100 80GB HBM3")
    gpus = detector.get_gpu_list()
    assert [gpu.index for gpu in gpus] == list(range(8))
    assert [gpu.pci_address for gpu in gpus] == sorted(gpu.pci_address for gpu in gpus)
    assert {gpu.total_memory_bytes for gpu in gpus} == {80 * GIB}
    assert len({gpu.uuid for gpu in gpus}) == 8


def test_a_korean_name(nvml, detector):
    nvml.add_gpu(name="엔비디아 지포스 RTX 4090")
    assert only(detector)[0].name == "엔비디아 지포스 RTX 4090"


def test_a_name_that_is_no_text_costs_only_the_name(nvml, detector):
    nvml.add_gpu(name=b"RTX \xff\xfe".decode(errors="surrogateescape"))
    gpu, sample = only(detector)
    assert gpu.name == "NVIDIA GPU"
    assert sample.used_memory_bytes == 2 * GIB


@pytest.mark.parametrize(
    ("call", "field"),
    [("Utilization", "utilization_percent"), ("Temperature", "temperature_c"), ("Power", "power_watts"),
     ("PowerLimit", "power_limit_watts"), ("Fan", "fan_percent")],
)  # fmt: skip
@pytest.mark.parametrize("error", [NOT_SUPPORTED, UNKNOWN])
def test_what_cannot_be_measured_is_none_and_costs_nothing_else(nvml, detector, call, field, error):
    nvml.add_gpu(**{f"error.{call}": error})
    _, sample = only(detector)
    readings = (
        "utilization_percent", "temperature_c", "power_watts", "power_limit_watts", "fan_percent", "used_memory_bytes"
    )  # fmt: skip
    assert [name for name in readings if getattr(sample, name) is None] == [field]


def test_a_failing_reading_is_logged_once(nvml, detector, caplog):
    nvml.add_gpu(**{"error.Power": UNKNOWN})
    for _ in range(5):
        only(detector)
    assert len([record for record in caplog.records if "nvmlDeviceGetPowerUsage" in record.getMessage()]) == 1


def test_an_old_driver_counts_what_it_reserves_as_used(nvml, detector):
    nvml.add_gpu()
    nvml.set(memory_v2=0)
    _, sample = only(detector)
    assert sample.used_memory_bytes == 2 * GIB + GIB // 2


@pytest.mark.parametrize("values", [{"error.Memory": NOT_SUPPORTED}, {"total": 0, "used": 0, "reserved": 0}])
def test_a_gpu_that_shares_the_ram(nvml, detector, values):
    nvml.add_gpu(name="NVIDIA GB10", **values)
    gpu, sample = only(detector)
    assert gpu.integrated
    assert gpu.total_memory_bytes == psutil.virtual_memory().total
    assert sample.used_memory_bytes + sample.free_memory_bytes == gpu.total_memory_bytes


def test_memory_that_may_not_be_read_is_not_taken_for_the_ram(nvml, detector):
    nvml.add_gpu(**{"error.Memory": NO_PERMISSION})
    gpu, sample = only(detector)
    assert (gpu.total_memory_bytes, gpu.integrated) == (None, False)
    assert (sample.used_memory_bytes, sample.free_memory_bytes) == (None, None)


def test_processes_of_both_lists_are_one_list(nvml, detector):
    own = os.getpid()
    nvml.add_gpu(compute=f"{own}:{GIB},4000001:{2 * GIB},4000002:?", graphics=f"{own}:{GIB},4000003:5")
    _, sample = only(detector)
    assert sample.processes == (
        GpuProcess(own, psutil.Process().name(), GIB),
        GpuProcess(4000001, "", 2 * GIB),
        GpuProcess(4000002, "", None),
        GpuProcess(4000003, "", 5),
    )


def test_a_process_on_two_mig_instances_is_summed_up(nvml, detector):
    nvml.add_gpu(compute="4000001:100,4000001:50", **{"error.Graphics": NOT_SUPPORTED})
    assert only(detector)[1].processes == (GpuProcess(4000001, "", 150),)


def test_processes_are_read_less_often_than_the_rest(nvml, detector, clock):
    nvml.add_gpu(compute="4000001:5")
    for _ in range(9):
        _, sample = only(detector)
        assert len(sample.processes) == 1
        clock.now_s += 1
    assert nvml.calls("Compute") == 2  # the number, then the list
    assert nvml.calls("Utilization") == 9
    clock.now_s += 2
    nvml.set(**{"0.compute": None})
    assert only(detector)[1].processes == ()


def test_of_thousands_of_processes_the_names_are_read_bit_by_bit(nvml, detector, clock):
    own = os.getpid()
    told = ",".join([f"{own}:5", *(f"{pid}:{pid}" for pid in range(4_000_001, 4_000_600))])
    nvml.add_gpu(compute=told)
    named = []
    for _ in range(4):
        _, sample = only(detector)
        assert len(sample.processes) == 600
        named.append([process.name for process in sample.processes if process.pid == own])
        clock.now_s += 11
    assert named == [[""], [""], [psutil.Process().name()], [psutil.Process().name()]]


def test_what_a_process_holds_is_known_as_soon_as_the_memory_is_in_use(nvml, detector, clock):
    nvml.add_gpu(total=24 * GIB, used=GIB, free=23 * GIB, compute=f"4000001:{GIB}")
    assert only(detector)[1].processes == (GpuProcess(4000001, "", GIB),)
    clock.now_s += 1
    nvml.set(**{"0.used": 9 * GIB, "0.free": 15 * GIB, "0.compute": f"4000001:{GIB},4000002:{8 * GIB}"})
    assert only(detector)[1].processes == (GpuProcess(4000001, "", GIB), GpuProcess(4000002, "", 8 * GIB))
    calls = nvml.calls("Compute")
    clock.now_s += 1
    nvml.set(**{"0.used": 9 * GIB + 4096})
    only(detector)
    assert nvml.calls("Compute") == calls
    clock.now_s += 1
    nvml.set(**{"0.used": GIB, "0.compute": f"4000001:{GIB}"})
    assert only(detector)[1].processes == (GpuProcess(4000001, "", GIB),)


def test_a_lost_gpu_does_not_hide_the_others_and_may_come_back(nvml, detector, clock):
    nvml.add_gpu()
    nvml.add_gpu()
    first, second = detector.get_gpu_list()
    nvml.set(**{"0.error": LOST})
    assert detector.get_gpu_info(first).state is GpuState.LOST
    assert detector.get_gpu_info(first).used_memory_bytes is None
    assert detector.get_gpu_info(second).state is GpuState.ACTIVE
    clock.now_s += 61
    assert [gpu.pci_address for gpu in detector.get_gpu_list()] == [FIRST, SECOND]
    assert detector.get_gpu_info(first).state is GpuState.LOST
    nvml.set(**{"0.error": None})
    clock.now_s += 61
    detector.get_gpu_list()
    assert detector.get_gpu_info(first).state is GpuState.ACTIVE


@pytest.mark.parametrize("error", [UNINITIALIZED, NOT_LOADED, MISMATCH])
def test_a_driver_that_was_reloaded_is_opened_anew(nvml, detector, clock, error):
    nvml.add_gpu()
    (gpu,) = detector.get_gpu_list()
    nvml.set(**{"0.error": error})
    assert detector.get_gpu_info(gpu).state is GpuState.LOST
    nvml.set(**{"0.error": None, "driver": "580.95.06"})
    clock.now_s += 61
    (again,) = detector.get_gpu_list()
    assert again.driver_version == "580.95.06"
    assert detector.get_gpu_info(again).used_memory_bytes == 2 * GIB


def test_a_reloaded_driver_is_opened_with_the_next_list(nvml, detector):
    nvml.add_gpu()
    (gpu,) = detector.get_gpu_list()
    nvml.set(**{"0.error": UNINITIALIZED})
    assert detector.get_gpu_info(gpu).state is GpuState.LOST
    nvml.set(**{"0.error": None, "driver": "590.1"})
    (again,) = detector.get_gpu_list()
    assert again.driver_version == "590.1"
    assert detector.get_gpu_info(again).state is GpuState.ACTIVE


def test_while_others_answer_the_library_stays_open_for_a_minute(nvml, detector, clock):
    nvml.add_gpu()
    nvml.add_gpu()
    first, second = detector.get_gpu_list()
    nvml.set(**{"0.error": LOST})
    for _ in range(3):
        states = [detector.get_gpu_info(gpu).state for gpu in (first, second)]
        assert states == [GpuState.LOST, GpuState.ACTIVE]
        detector.get_gpu_list()
        clock.now_s += 15
    assert nvml.calls("Init") == 1
    nvml.set(**{"0.error": None})
    assert detector.get_gpu_info(first).state is GpuState.ACTIVE
    clock.now_s += 61
    detector.get_gpu_list()
    assert nvml.calls("Init") == 1  # it has come back by itself


@pytest.mark.parametrize("lost", ["error", "error.Memory", "error.Name", "error.UUID"])
@pytest.mark.parametrize("with_kernel", [True, False])
def test_a_gpu_that_is_lost_from_the_start_is_listed_as_lost(nvml, system, detector, lost, with_kernel):
    """Also where nothing is left to know it by (no handle, and a kernel without sysfs)."""
    for address in (FIRST, SECOND) if with_kernel else ():
        system.add_card(address)
    nvml.add_gpu()
    nvml.add_gpu(**{lost: LOST})
    gpus = detector.get_gpu_list()
    states = [detector.get_gpu_info(gpu).state for gpu in gpus]
    assert sorted(states) == [GpuState.ACTIVE, GpuState.LOST if lost in {"error", "error.Memory"} else GpuState.ACTIVE]
    assert len({gpu.uuid for gpu in gpus}) == 2
    nvml.set(**{f"1.{lost}": None})
    detector.close()
    again = detector.get_gpu_list()
    if with_kernel:
        assert [gpu.pci_address for gpu in again] == [FIRST, SECOND]
    assert GpuState.LOST not in [detector.get_gpu_info(gpu).state for gpu in again[:2]]


def test_gpus_of_a_driver_that_tells_neither_address_nor_uuid_are_not_taken_for_one(nvml, detector):
    for used in (1, 2, 3):
        nvml.add_gpu(**{"error.Pci": NOT_SUPPORTED, "error.UUID": NOT_SUPPORTED}, used=used * GIB)
    gpus = detector.get_gpu_list()
    assert len({gpu.uuid for gpu in gpus}) == 3
    assert [detector.get_gpu_info(gpu).used_memory_bytes for gpu in gpus] == [GIB, 2 * GIB, 3 * GIB]


def test_another_number_of_gpus_is_noticed_where_the_kernel_shows_none(nvml, detector):
    nvml.add_gpu()
    assert len(detector.get_gpu_list()) == 1
    nvml.set(recount=2)
    nvml.add_gpu()
    assert len(detector.get_gpu_list()) == 2
    assert len(detector.get_gpu_list()) == 2
    assert nvml.calls("Init") == 2


def test_a_lost_gpu_is_not_looked_for_with_every_sample(nvml, detector, clock):
    nvml.add_gpu()
    (gpu,) = detector.get_gpu_list()
    nvml.set(**{"0.error": LOST})
    for _ in range(10):
        detector.get_gpu_info(gpu)
        clock.now_s += 1
    assert nvml.calls("Init") == 1


def test_a_gpu_that_is_plugged_in_and_out(nvml, system, detector):
    nvml.add_gpu()
    system.add_card(FIRST)
    assert len(detector.get_gpu_list()) == 1
    nvml.add_gpu()
    system.add_card(SECOND)
    assert [gpu.pci_address for gpu in detector.get_gpu_list()] == [FIRST, SECOND]
    nvml.set(count=1)
    system.remove_card(SECOND)
    assert [gpu.pci_address for gpu in detector.get_gpu_list()] == [FIRST]


@pytest.mark.parametrize("status", ["suspended", "suspending"])
def test_a_sleeping_gpu_is_listed_and_left_alone(nvml, system, detector, status):
    nvml.add_gpu()
    system.add_card(FIRST, status=status)
    system.add_nvidia_proc(FIRST, "NVIDIA GeForce RTX 4070 Laptop GPU", "GPU-abc")
    gpu, sample = only(detector)
    assert (gpu.name, gpu.uuid, gpu.pci_address) == ("NVIDIA GeForce RTX 4070 Laptop GPU", "GPU-abc", FIRST)
    assert (sample.state, sample.used_memory_bytes) == (GpuState.ASLEEP, None)
    assert detector.step.outcome is Outcome.FOUND
    assert nvml.calls() == 0


def test_a_sleeping_gpu_that_was_never_awake(system, detector):
    system.add_card(FIRST, status="suspended")
    system.add_nvidia_proc(FIRST, "NVIDIA GeForce RTX 4070 Laptop GPU", "GPU-????????-????-????-????-????????????")
    assert only(detector)[0].uuid == FIRST


def test_a_gpu_beside_a_sleeping_one_is_opened_alone(nvml, system, detector):
    nvml.add_gpu()
    nvml.add_gpu()
    system.add_card(FIRST, status="suspended")
    system.add_card(SECOND)
    first, second = detector.get_gpu_list()
    assert detector.get_gpu_info(first).state is GpuState.ASLEEP
    assert detector.get_gpu_info(second).used_memory_bytes == 2 * GIB
    assert nvml.calls(gpu=0) == 0


def test_a_gpu_that_wakes_up_is_read_at_once(nvml, system, detector):
    nvml.add_gpu()
    system.add_card(FIRST, status="suspended")
    gpu, _ = only(detector)
    system.set_status(FIRST, "active")
    assert detector.get_gpu_info(gpu).used_memory_bytes == 2 * GIB
    assert only(detector)[0].total_memory_bytes == 24 * GIB


@pytest.mark.parametrize("status", ["unsupported", "error", "active"])
def test_only_a_suspended_gpu_counts_as_asleep(nvml, system, detector, status):
    nvml.add_gpu()
    system.add_card(FIRST, status=status)
    assert only(detector)[1].used_memory_bytes == 2 * GIB


def idle_laptop(nvml: FakeNvml, system: FakeSystem, **values: object) -> None:
    nvml.add_gpu(**({"util": 0} | values))
    system.add_card(FIRST)


def sample_for(detector: NVMLDetector, clock, seconds: int) -> None:
    (gpu,) = detector.get_gpu_list()
    for _ in range(seconds):
        detector.get_gpu_info(gpu)
        clock.now_s += 1


def test_an_idle_laptop_gpu_is_let_go_so_that_it_falls_asleep(nvml, system, detector, clock):
    idle_laptop(nvml, system)
    system.add_nvidia_proc(FIRST, "RTX", "GPU-abc")
    sample_for(detector, clock, 65)
    assert nvml.calls("Shutdown") == 1
    calls = nvml.calls()
    system.set_status(FIRST, "suspended")
    clock.now_s += 60
    gpu, sample = only(detector)
    assert (gpu.total_memory_bytes, sample.state) == (24 * GIB, GpuState.ASLEEP)
    assert nvml.calls() == calls


def test_a_laptop_gpu_that_stays_awake_is_read_again(nvml, system, detector, clock):
    idle_laptop(nvml, system)
    system.add_nvidia_proc(FIRST, "RTX", "GPU-abc")
    sample_for(detector, clock, 65)
    assert only(detector)[1].state is GpuState.ASLEEP
    clock.now_s += 20
    assert only(detector)[1].used_memory_bytes == 2 * GIB
    sample_for(detector, clock, 300)
    assert nvml.calls("Shutdown") == 1


def test_a_laptop_gpu_that_has_slept_is_let_go_again_after_a_minute(nvml, system, detector, clock):
    idle_laptop(nvml, system)
    system.add_nvidia_proc(FIRST, "RTX", "GPU-abc")
    sample_for(detector, clock, 65)
    for status in ("suspended", "active"):
        system.set_status(FIRST, status)
        sample_for(detector, clock, 65)
    assert nvml.calls("Shutdown") == 2


@pytest.mark.parametrize(
    ("values", "rtd3"),
    [({"util": 3}, "Enabled (fine-grained)"), ({"graphics": "4000001:5"}, "Enabled (fine-grained)"),
     ({}, "Disabled by default"), ({}, "Not supported")],
)  # fmt: skip
def test_a_gpu_with_work_or_without_sleep_is_read_all_the_time(nvml, system, detector, clock, values, rtd3):
    idle_laptop(nvml, system, **values)
    system.add_nvidia_proc(FIRST, "RTX", "GPU-abc", rtd3=rtd3)
    sample_for(detector, clock, 200)
    assert nvml.calls("Utilization") == 200
    assert nvml.calls("Shutdown") == 0


@pytest.mark.parametrize(
    ("code", "words"),
    [(MISMATCH, "Restart the computer"), (NOT_LOADED, "not loaded"), (NO_PERMISSION, "refuses access"),
     (UNKNOWN, "does not answer")],
)  # fmt: skip
def test_a_driver_that_does_not_open_says_why(nvml, detector, code, words):
    nvml.add_gpu()
    nvml.set(init=code)
    assert detector.get_gpu_list() == []
    assert detector.step.outcome is Outcome.FAILED
    assert words in str(detector.step.reason)


def test_a_driver_that_is_updated_while_its_gpus_are_shown(nvml, detector):
    nvml.add_gpu()
    gpu, _ = only(detector)
    detector.close()
    nvml.set(init=MISMATCH)
    assert detector.get_gpu_info(gpu).state is GpuState.LOST
    assert detector.step.outcome is Outcome.FAILED


def test_no_driver_is_no_failure(monkeypatch, nvml, detector):
    monkeypatch.delenv("LAUNCHDECK_FAKE_NVML")
    assert detector.get_gpu_list() == []
    assert detector.step.outcome is Outcome.NOT_INSTALLED


def test_a_driver_that_is_loaded_later_is_found(nvml, detector):
    nvml.add_gpu()
    nvml.set(init=NOT_LOADED)
    assert not detector.is_available()
    nvml.set(init=None)
    assert detector.is_available()


def test_cards_of_others_are_not_ours(nvml, system, detector):
    system.add_card(FIRST, AMD, status="suspended")
    nvml.add_gpu(bus_id="00000000:02:00.0")
    system.add_card(SECOND)
    assert [gpu.pci_address for gpu in detector.get_gpu_list()] == [SECOND]


def test_closed_and_asked_again_it_opens_again(nvml, detector):
    nvml.add_gpu()
    gpu, _ = only(detector)
    detector.close()
    assert detector.get_gpu_info(gpu).used_memory_bytes == 2 * GIB
    assert nvml.calls("Init") == 2
