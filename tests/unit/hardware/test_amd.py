"""AMD GPUs through the real bindings of AMD's library and a library whose answers the test writes."""

from __future__ import annotations

import sys

import pytest

from fakes.amdsmi import GIB, FakeAmdSmi
from fakes.system import FakeSystem
from launchdeck.domain.detection import Outcome
from launchdeck.domain.gpu import GpuProcess, GpuSample, GpuState, GpuType
from launchdeck.hardware.amd.detector import AMDSMIDetector
from launchdeck.hardware.amd.sysfs import AMDGPUSysfsDetector
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


def held(detector: AMDSMIDetector, gpu):
    return detector.get_gpu_info(gpu).processes


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


def test_a_process_is_known_by_its_programs_name(amdsmi, detector):
    amdsmi.add_gpu(processes=f"77:{GIB}", program="/opt/llama.cpp/build bin/llama-server (deleted)")
    assert only(detector)[1].processes == (GpuProcess(77, "llama-server", GIB),)


def test_kibibytes_that_the_library_took_for_a_thousand_bytes_are_set_right(amdsmi, detector):
    kib = 7 * GIB // 1024
    amdsmi.add_gpu(processes=f"77:{kib * 1000},79:0")
    assert [process.used_memory_bytes for process in only(detector)[1].processes] == [7 * GIB, 0]


def test_a_library_that_is_right_once_is_right_for_good(amdsmi, detector, clock):
    """Of its sizes one in 125 is a multiple of what the kernel counts in, taken for a thousand bytes each."""
    even = 125 * 2 * 2**20
    amdsmi.add_gpu(processes=f"77:{even},78:{7 * GIB}")
    amdsmi.add_gpu(processes=f"79:{even}")
    sizes = [process.used_memory_bytes for gpu in detector.get_gpu_list() for process in held(detector, gpu)]
    assert sizes == [even, 7 * GIB, even]
    detector.close()
    amdsmi.set(**{"0.processes": f"77:{even}"})
    clock.now_s += 11
    assert [process.used_memory_bytes for process in held(detector, detector.get_gpu_list()[0])] == [even]


@pytest.mark.parametrize("with_kernel", [True, False])
def test_the_gpus_of_one_package_share_its_memory(amdsmi, system, with_kernel):
    if with_kernel:
        system.add_amd(FIRST, mem_info_vram_total=192 * GIB, mem_info_vram_used=16 * GIB)
    amdsmi.add_partitions(8)
    amdsmi.add_gpu()
    detectors = [AMDSMIDetector(root=system.root, environ={}), AMDGPUSysfsDetector(root=system.root), CPUDetector()]
    unified = UnifiedGPUDetector(detectors=detectors)
    *parts, other = unified.read().gpus
    assert [reading.gpu.pci_address for reading in parts] == [f"0000:03:00.{function}" for function in range(8)]
    assert sum(reading.gpu.total_memory_bytes for reading in parts) == 192 * GIB
    assert sum(reading.sample.used_memory_bytes for reading in parts) == 16 * GIB
    assert sum(reading.sample.free_memory_bytes for reading in parts) == 176 * GIB
    assert [reading.gpu.hip_id for reading in parts] == list(range(8))
    assert len({reading.gpu.uuid for reading in parts}) == 8
    assert not any(reading.gpu.uuid.startswith("GPU-") for reading in parts)  # HIP takes them by their numbers
    assert other.gpu.total_memory_bytes == 24 * GIB
    unified.close()


def test_a_part_that_tells_its_own_share_is_believed(amdsmi, system, detector):
    system.add_amd(FIRST, mem_info_vram_total=192 * GIB)
    amdsmi.add_partitions(3, vram_total=64 * GIB, vram_used=GIB)
    assert [gpu.total_memory_bytes for gpu in detector.get_gpu_list()] == [64 * GIB] * 3


def test_whether_a_part_tells_its_share_is_decided_when_it_is_opened(amdsmi, system, detector):
    system.add_amd(FIRST, mem_info_vram_total=192 * GIB)
    amdsmi.add_partitions(2, vram_total=192 * GIB, vram_used=16 * GIB)
    gpus = detector.get_gpu_list()
    system.write(f"sys/bus/pci/devices/{FIRST}/mem_info_vram_total", str(400 * GIB))
    assert [detector.get_gpu_info(gpu).used_memory_bytes for gpu in gpus] == [8 * GIB] * 2


def test_two_cards_on_functions_of_one_address_are_no_package(amdsmi, system, detector):
    for function in range(2):
        system.add_amd(f"0000:03:00.{function}", unique_id=f"a1b2c3d4e5f6071{function}")
        amdsmi.add_gpu(bdf=3 << 8 | function)
    assert [gpu.total_memory_bytes for gpu in detector.get_gpu_list()] == [24 * GIB] * 2
    assert [gpu.uuid for gpu in detector.get_gpu_list()] == ["GPU-0000000000000001", "GPU-0000000000000002"]
    assert detector.get_gpu_info(detector.get_gpu_list()[1]).used_memory_bytes == 3 * GIB


def test_processes_are_read_less_often_than_the_rest(amdsmi, system, detector, clock):
    system.add_amd(FIRST)
    amdsmi.add_gpu(processes=f"78:{GIB},77:5")
    for _ in range(9):
        _, sample = only(detector)
        assert [process.pid for process in sample.processes] == [77, 78]
        clock.now_s += 1
    assert (amdsmi.calls("Processes"), amdsmi.calls("Activity")) == (1, 9)


def test_what_a_process_holds_is_known_as_soon_as_the_memory_is_in_use(amdsmi, system, detector, clock):
    system.add_amd(FIRST)
    amdsmi.add_gpu(vram_total=16 * GIB, vram_used=GIB, processes=f"77:{GIB}")
    only(detector)
    clock.now_s += 1
    amdsmi.set(**{"0.vram_used": 9 * GIB, "0.processes": f"77:{9 * GIB}"})
    assert [process.used_memory_bytes for process in only(detector)[1].processes] == [9 * GIB]
    calls = amdsmi.calls("Processes")
    clock.now_s += 1
    only(detector)
    assert amdsmi.calls("Processes") == calls


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


USUAL_MODULE = """
class AmdSmiInitFlags:
    INIT_AMD_GPUS = 1
class AmdSmiMemoryType:
    VRAM, GTT = 0, 2
def amdsmi_init(flags): pass
def amdsmi_shut_down(): pass
def amdsmi_get_processor_handles(): return ["a", "b"]
def amdsmi_get_gpu_asic_info(handle): return {"market_name": f"card {handle}"}
"""


def from_own_module(tmp_path, system, code: str) -> AMDSMIDetector:
    return AMDSMIDetector(root=system.root, environ=own_module(tmp_path, USUAL_MODULE + code))


def test_a_module_that_has_next_to_nothing_still_tells_which_gpus_there_are(amdsmi, system, tmp_path):
    detector = from_own_module(tmp_path, system, "")
    gpus = detector.get_gpu_list()
    assert [(gpu.name, gpu.pci_address, gpu.uuid) for gpu in gpus] == [
        ("card a", None, "amd-0"),
        ("card b", None, "amd-1"),
    ]
    for gpu in gpus:
        sample = detector.get_gpu_info(gpu)
        assert sample == GpuSample(sample.sampled_at_s)


def test_a_module_that_says_not_available_everywhere(amdsmi, system, tmp_path):
    system.add_amd(FIRST)
    system.add_amd(SECOND)
    code = (
        "def __getattr__(name):\n    if name.startswith('__'): raise AttributeError(name)\n    return lambda *_: 'N/A'"
    )
    detector = from_own_module(tmp_path, system, code)
    gpus = detector.get_gpu_list()
    assert [gpu.pci_address for gpu in gpus] == [FIRST, SECOND]
    sample = detector.get_gpu_info(gpus[0])
    assert (sample.state, sample.used_memory_bytes, sample.utilization_percent) == (GpuState.ACTIVE, None, None)


def test_one_handle_that_fails_in_every_call_costs_the_other_nothing(amdsmi, system, tmp_path):
    code = """
def __getattr__(name):
    if name.startswith("__"): raise AttributeError(name)
    def call(handle, *_):
        if handle == "a": raise KeyError(name)
        return {"amdsmi_get_gpu_device_bdf": "0000:04:00.0", "amdsmi_get_gpu_activity": {"gfx_activity": 7}}.get(name)
    return call
"""
    detector = from_own_module(tmp_path, system, code)
    samples = {gpu.name: detector.get_gpu_info(gpu) for gpu in detector.get_gpu_list()}
    assert {name: sample.utilization_percent for name, sample in samples.items()} == {"card a": None, "card b": 7}


def test_readings_of_other_kinds_than_usual(amdsmi, system, tmp_path):
    processes = [5, {"pid": "N/A"}, {"pid": 7, "name": "N/A", "memory_usage": "N/A"}, {"name": "no number"}]
    code = f"""
def amdsmi_get_gpu_vram_usage(handle): return {{"vram_total": 24560, "vram_used": 4211}}
def amdsmi_get_gpu_activity(handle): return {{"gfx_activity": 16.6}}
def amdsmi_get_power_info(handle): return "N/A"
def amdsmi_get_power_cap_info(handle): return [1]
def amdsmi_get_gpu_fan_speed(handle, sensor): return "N/A"
def amdsmi_get_gpu_process_list(handle): return {processes}
"""
    detector = from_own_module(tmp_path, system, code)
    gpu = detector.get_gpu_list()[0]
    sample = detector.get_gpu_info(gpu)
    assert (gpu.total_memory_bytes, sample.used_memory_bytes) == (24560 * 2**20, 4211 * 2**20)
    assert (sample.utilization_percent, sample.power_watts, sample.fan_percent) == (17, None, None)
    assert sample.processes == (GpuProcess(7, "", None),)


def test_what_other_threads_print_while_the_module_is_imported_is_printed(amdsmi, system, tmp_path, capsys):
    printing = "other = threading.Thread(target=print, args=('others',)); other.start(); other.join()"
    code = f"import threading\nprint('own')\n{printing}"
    assert from_own_module(tmp_path, system, code).is_available()
    assert capsys.readouterr().out == "others\n"


def test_another_number_of_gpus_is_noticed_where_the_kernel_shows_none(amdsmi, system, tmp_path):
    code = "handles = ['a', 'b']\ndef amdsmi_get_processor_handles(): return list(handles)"
    detector = from_own_module(tmp_path, system, code)
    assert len(detector.get_gpu_list()) == 2
    sys.modules["amdsmi"].handles.append("c")
    assert len(detector.get_gpu_list()) == 3


def test_a_card_that_is_pulled_out_is_lost_at_once(amdsmi, system, detector):
    system.add_amd(FIRST)
    amdsmi.add_gpu()
    gpu, _ = only(detector)
    system.remove_card(FIRST)
    assert detector.get_gpu_info(gpu).state is GpuState.LOST
