"""AMD GPUs through the real bindings of AMD's library and a library whose answers the test writes."""

from __future__ import annotations

import pytest

from fakes.amdsmi import GIB, FakeAmdSmi
from fakes.system import FakeSystem
from launchdeck.domain.detection import Outcome
from launchdeck.domain.gpu import GpuProcess, GpuState, GpuType
from launchdeck.hardware.amd import AMDSMIDetector
from launchdeck.hardware.amd_sysfs import AMDGPUSysfsDetector
from launchdeck.hardware.cpu import CPUDetector
from launchdeck.hardware.unified import UnifiedGPUDetector

FIRST, SECOND = "0000:03:00.0", "0000:04:00.0"
NOT_SUPPORTED, NO_PERMISSION, UNEXPECTED_DATA = 2, 10, 43


@pytest.fixture
def detector(amdsmi: FakeAmdSmi, system: FakeSystem, clock):
    detector = AMDSMIDetector(root=system.root, environ={}, clock=clock)
    yield detector
    detector.close()


def only(detector: AMDSMIDetector):
    (gpu,) = detector.get_gpu_list()
    return gpu, detector.get_gpu_info(gpu)


def test_without_a_card_the_library_is_closed_again(amdsmi, detector):
    for _ in range(2):
        assert detector.get_gpu_list() == []
        assert detector.step.outcome is Outcome.EMPTY
    assert (amdsmi.calls("Init"), amdsmi.calls("Shutdown")) == (2, 2)


def test_the_library_is_enough_where_the_kernel_shows_no_cards(amdsmi, detector):
    amdsmi.add_gpu()
    gpu, sample = only(detector)
    assert (gpu.name, gpu.pci_address) == ("AMD Radeon RX 7900 XTX", FIRST)
    assert (sample.power_limit_watts, sample.used_memory_bytes) == (303.0, 3 * GIB)


@pytest.mark.parametrize("uuid", ["GPU-XX", ""])
def test_an_integrated_gpu_is_known_by_its_address(amdsmi, system, detector, uuid):
    system.add_amd(FIRST, integrated=True, unique_id=None)
    amdsmi.add_gpu(hip_uuid=uuid, hip_id=1, gfx="1100")
    gpu, _ = only(detector)
    assert (gpu.uuid, gpu.hip_id, gpu.gfx_target) == (FIRST, 1, "gfx1100")


def test_everything_that_is_known_of_a_card(amdsmi, system, detector):
    system.add_amd(FIRST)
    amdsmi.add_gpu()
    gpu, sample = only(detector)
    assert (detector.step.outcome, detector.step.version) == (Outcome.FOUND, "6.16.6")
    assert (gpu.name, gpu.uuid) == ("AMD Radeon RX 7900 XTX", "GPU-0000000000000001")
    assert (gpu.pci_address, gpu.gpu_type, gpu.integrated) == (FIRST, GpuType.AMD, False)
    assert (gpu.total_memory_bytes, gpu.driver_version) == (24 * GIB, "6.16.6")
    assert (sample.used_memory_bytes, sample.free_memory_bytes) == (3 * GIB, 21 * GIB)
    assert (sample.utilization_percent, sample.temperature_c) == (17, 52)
    assert (sample.power_watts, sample.power_limit_watts) == (95, 303.0)
    assert (sample.graphics_clock_mhz, sample.memory_clock_mhz, sample.fan_percent) == (2304, 1249, 40)
    assert gpu.hip_id == 0
    assert gpu.gfx_target is None


def test_two_cards(amdsmi, system, detector):
    for address in (FIRST, SECOND):
        system.add_amd(address)
        amdsmi.add_gpu()
    assert [(gpu.index, gpu.pci_address) for gpu in detector.get_gpu_list()] == [(0, FIRST), (1, SECOND)]


@pytest.mark.parametrize(
    ("call", "field"),
    [("Activity", "utilization_percent"), ("Power", "power_watts"), ("Temperature", "temperature_c"),
     ("MemoryUsage", "used_memory_bytes"), ("Clock", "graphics_clock_mhz"), ("Fan", "fan_percent"),
     ("FanMax", "fan_percent")],
)  # fmt: skip
@pytest.mark.parametrize("error", [NOT_SUPPORTED, UNEXPECTED_DATA])
def test_what_cannot_be_measured_is_none_and_costs_nothing_else(amdsmi, system, detector, call, field, error):
    system.add_amd(FIRST)
    amdsmi.add_gpu(**{f"error.{call}": error})
    _, sample = only(detector)
    readings = (
        "utilization_percent", "temperature_c", "power_watts", "used_memory_bytes", "graphics_clock_mhz", "fan_percent"
    )  # fmt: skip
    assert [name for name in readings if getattr(sample, name) is None] == [field]


@pytest.mark.parametrize("value", [0xFFFF, 0xFFFFFFFF])
def test_the_hardwares_word_for_no_reading_is_no_reading(amdsmi, system, detector, value):
    system.add_amd(FIRST)
    amdsmi.add_gpu(util=value, power=value)
    _, sample = only(detector)
    assert (sample.utilization_percent, sample.power_watts) == (None, None)


def test_an_average_is_the_power_where_there_is_no_other(amdsmi, system, detector):
    system.add_amd(FIRST)
    amdsmi.add_gpu(power=0xFFFF, average_power=60)
    assert only(detector)[1].power_watts == 60


def test_an_instinct_card_is_measured_at_its_hottest_spot(amdsmi, system, detector):
    system.add_amd(FIRST)
    amdsmi.add_gpu(edge="", hotspot=71)
    assert only(detector)[1].temperature_c == 71


def test_an_apu_and_its_processes_use_the_ram_too(amdsmi, system, detector):
    system.add_amd(FIRST, integrated=True)
    amdsmi.add_gpu(
        vram_total=GIB, vram_used=GIB // 2, gtt_total=8 * GIB, gtt_used=GIB, processes="77:500", name="Radeon 780M"
    )
    gpu, sample = only(detector)
    assert (gpu.integrated, gpu.total_memory_bytes) == (True, 9 * GIB)
    assert sample.used_memory_bytes == GIB // 2 + GIB
    assert sample.processes == (GpuProcess(77, "llama-server", 1500),)


def test_processes_are_read_less_often_than_the_rest(amdsmi, system, detector, clock):
    system.add_amd(FIRST)
    amdsmi.add_gpu(processes=f"78:{GIB},77:5")
    for _ in range(9):
        _, sample = only(detector)
        assert [process.pid for process in sample.processes] == [77, 78]
        clock.now_s += 1
    assert (amdsmi.calls("Processes"), amdsmi.calls("Activity")) == (1, 9)


def test_while_a_card_sleeps_the_library_stays_closed(amdsmi, system, detector):
    system.add_amd(FIRST)
    system.add_amd(SECOND)
    system.set_status(SECOND, "suspended")
    amdsmi.add_gpu()
    assert detector.get_gpu_list() == []
    assert detector.step.outcome is Outcome.SKIPPED
    assert amdsmi.calls() == 0


def test_a_card_that_falls_asleep_is_left_alone(amdsmi, system, detector):
    system.add_amd(FIRST)
    amdsmi.add_gpu()
    gpu, _ = only(detector)
    calls = amdsmi.calls()
    system.set_status(FIRST, "suspended")
    assert detector.get_gpu_info(gpu).state is GpuState.ASLEEP
    assert amdsmi.calls() == calls


@pytest.mark.parametrize(("code", "words"), [(NO_PERMISSION, "render and video"), (UNEXPECTED_DATA, "does not answer")])
def test_a_library_that_does_not_open_says_why(amdsmi, system, detector, code, words):
    system.add_amd(FIRST)
    amdsmi.set(init=code)
    assert detector.get_gpu_list() == []
    assert detector.step.outcome is Outcome.FAILED
    assert words in str(detector.step.reason)


def test_without_the_library_nothing_is_printed(system, monkeypatch, tmp_path, capfd, amdsmi):
    monkeypatch.setenv("ROCM_PATH", str(tmp_path / "nothing"))
    system.add_amd(FIRST)
    detector = AMDSMIDetector(root=system.root, environ={})
    assert detector.get_gpu_list() == []
    assert detector.step.outcome is Outcome.NOT_INSTALLED
    assert capfd.readouterr() == ("", "")


def test_the_kernels_files_stand_in_for_what_the_library_lacks(amdsmi, system, clock):
    system.add_amd(FIRST, gpu_busy_percent=88)
    amdsmi.add_gpu(**{"error.Activity": UNEXPECTED_DATA})
    parts = [
        AMDSMIDetector(root=system.root, environ={}, clock=clock),
        AMDGPUSysfsDetector(root=system.root, clock=clock),
    ]
    unified = UnifiedGPUDetector(detectors=[*parts, CPUDetector()], clock=clock)
    inventory = unified.read()
    unified.close()
    (reading,) = inventory.gpus
    assert inventory.detector == "AMDSMIDetector"
    assert reading.gpu.uuid == "GPU-0000000000000001"
    assert (reading.sample.utilization_percent, reading.sample.power_watts) == (88, 95)


def own_module(tmp_path, code: str) -> dict[str, str]:
    """The environment of a machine whose ROCm has a Python module of its own."""
    package = tmp_path / "rocm/share/amd_smi/amdsmi"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(code)
    return {"ROCM_PATH": str(tmp_path / "rocm")}


def test_rocms_own_module_comes_first(amdsmi, system, tmp_path):
    failing = "def amdsmi_init(flags):\n    raise ValueError('own module')"
    environ = own_module(tmp_path, f"class AmdSmiInitFlags:\n    INIT_AMD_GPUS = 1\n\n{failing}")
    system.add_amd(FIRST)
    detector = AMDSMIDetector(root=system.root, environ=environ)
    assert detector.get_gpu_list() == []
    assert "own module" in str(detector.step.reason)


def test_the_package_is_taken_where_rocms_own_module_does_not_fit(amdsmi, system, tmp_path, capfd):
    environ = own_module(tmp_path, "print('Unable to find the library')\nraise KeyError('libamd_smi.so')")
    system.add_amd(FIRST)
    amdsmi.add_gpu()
    detector = AMDSMIDetector(root=system.root, environ=environ)
    assert detector.is_available()
    detector.close()
    assert capfd.readouterr() == ("", "")
