"""One list of all vendors' GPUs: no detector's failure, and no second opinion, changes what the others found."""

from __future__ import annotations

import pytest

from fakes.detector import Detector
from launchdeck.domain.detection import Outcome
from launchdeck.domain.gpu import Gpu, GpuState, GpuType
from launchdeck.hardware.cpu import CPUDetector
from launchdeck.hardware.unified import UnifiedGPUDetector

GIB = 2**30


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def gpu(gpu_type: GpuType, address: str | None, name: str = "card", **values) -> Gpu:
    return Gpu(0, f"uuid-{address}-{name}", address, name, gpu_type, 24 * GIB, **values)


def amd(*gpus: Gpu, **options) -> Detector:
    return Detector("AMDSMIDetector", GpuType.AMD, *gpus, **options)


def nvidia(*gpus: Gpu, **options) -> Detector:
    return Detector("NVMLDetector", GpuType.NVIDIA, *gpus, **options)


def unified(*detectors: Detector, **options) -> UnifiedGPUDetector:
    return UnifiedGPUDetector(detectors=[*detectors, CPUDetector()], **options)


RADEON = gpu(GpuType.AMD, "0000:03:00.0", "RX 7900 XTX")
GEFORCE = gpu(GpuType.NVIDIA, "0000:01:00.0", "RTX 4090")
SECOND_GEFORCE = gpu(GpuType.NVIDIA, "0000:02:00.0", "RTX 3090")
APU = gpu(GpuType.AMD, "0000:0c:00.0", "Radeon 780M", integrated=True)


def test_without_gpus_the_cpu_is_the_one_device():
    detector = unified(amd(), nvidia())
    inventory = detector.read()
    assert detector.is_available()
    assert inventory.gpus == ()
    assert inventory.detector == "CPUDetector"
    (cpu,) = detector.get_gpu_list()
    assert cpu == inventory.cpu.gpu
    assert detector.get_gpu_info(0).free_memory_bytes > 0
    with pytest.raises(IndexError):
        detector.get_gpu_info(1)


def test_this_machine_can_always_be_read():
    detector = UnifiedGPUDetector()
    inventory = detector.read()
    detector.close()
    assert inventory.cpu.gpu.total_memory_bytes > 0
    chain = [make.name for make in UnifiedGPUDetector.DETECTOR_CHAIN]
    assert chain == ["AMDSMIDetector", "NVMLDetector", "TorchROCmDetector", "TorchCudaDetector", "CPUDetector"]
    assert [step.detector for step in detector.steps] == [chain[0], "AMDGPUSysfsDetector", *chain[1:]]


def test_both_vendors_are_in_one_list():
    detector = unified(amd(RADEON, utilization_percent=1), nvidia(GEFORCE, SECOND_GEFORCE, utilization_percent=2))
    inventory = detector.read()
    assert [reading.gpu.name for reading in inventory.gpus] == ["RX 7900 XTX", "RTX 4090", "RTX 3090"]
    assert [reading.gpu.index for reading in inventory.gpus] == [0, 1, 2]
    assert [reading.sample.utilization_percent for reading in inventory.gpus] == [1, 2, 2]
    assert inventory.detector == "AMDSMIDetector+NVMLDetector"
    assert detector.get_gpu_info(1).utilization_percent == 2


def test_discrete_gpus_come_before_integrated_ones():
    inventory = unified(amd(APU, RADEON), nvidia(GEFORCE)).read()
    assert [reading.gpu.name for reading in inventory.gpus] == ["RX 7900 XTX", "RTX 4090", "Radeon 780M"]


def test_the_first_detector_alone_where_the_setting_says_so():
    second = nvidia(GEFORCE)
    detector = unified(amd(RADEON), second, detection="first")
    assert [reading.gpu.name for reading in detector.read().gpus] == ["RX 7900 XTX"]
    assert second.asked == 0
    assert detector.steps[1].outcome is Outcome.SKIPPED


def test_the_first_detector_that_finds_something():
    inventory = unified(amd(), nvidia(GEFORCE), detection="first").read()
    assert inventory.detector == "NVMLDetector"


def test_a_gpu_that_two_detectors_know_is_one_gpu():
    library = amd(RADEON, used_memory_bytes=GIB, temperature_c=50)
    kernel = Detector(
        "AMDGPUSysfsDetector",
        GpuType.AMD,
        gpu(GpuType.AMD, "0000:03:00.0", "amdgpu", driver_version="6.18"),
        used_memory_bytes=2 * GIB,
        utilization_percent=33,
    )
    (reading,) = unified(library, kernel).read().gpus
    assert (reading.gpu.name, reading.gpu.driver_version) == ("RX 7900 XTX", "6.18")
    assert reading.sample.used_memory_bytes == GIB
    assert reading.sample.temperature_c == 50
    assert reading.sample.utilization_percent == 33


@pytest.mark.expects_log_errors
def test_a_detector_that_breaks_costs_only_its_own_gpus(caplog):
    broken = amd(RADEON)
    broken.error = RuntimeError("libdrm")
    clock = Clock()
    detector = unified(broken, nvidia(GEFORCE), clock=clock)
    for _ in range(3):
        assert [reading.gpu.name for reading in detector.read().gpus] == ["RTX 4090"]
        clock.now_s += 31
    step = detector.steps[0]
    assert (step.detector, step.outcome) == ("AMDSMIDetector", Outcome.FAILED)
    assert "libdrm" in str(step.reason)
    assert len(caplog.records) == 1


@pytest.mark.expects_log_errors
def test_a_detector_that_breaks_while_reading_costs_only_its_own_readings(caplog):
    broken = amd(RADEON)
    broken.reading_error = KeyError("memory_usage")
    detector = unified(broken, nvidia(GEFORCE, utilization_percent=2))
    for _ in range(3):
        assert [reading.sample.utilization_percent for reading in detector.read().gpus] == [None, 2]
    assert len(caplog.records) == 1


def test_a_last_resort_is_asked_only_for_a_vendor_without_gpus():
    rocm = Detector("TorchROCmDetector", GpuType.AMD, RADEON, last_resort=True)
    cuda = Detector("TorchCudaDetector", GpuType.NVIDIA, GEFORCE, last_resort=True)
    inventory = unified(amd(), nvidia(SECOND_GEFORCE), rocm, cuda).read()
    assert [reading.gpu.name for reading in inventory.gpus] == ["RTX 3090", "RX 7900 XTX"]
    assert cuda.asked == 0


def test_places_stay_the_same_while_gpus_come_and_go():
    clock = Clock()
    cards = nvidia(GEFORCE, SECOND_GEFORCE)
    detector = unified(amd(), cards, clock=clock)
    detector.read()
    cards.gpus = [SECOND_GEFORCE, gpu(GpuType.NVIDIA, "0000:00:01.0", "new")]
    clock.now_s += 31
    readings = detector.read().gpus
    assert [(reading.gpu.index, reading.gpu.name, reading.sample.state) for reading in readings] == [
        (0, "RTX 4090", GpuState.LOST),
        (1, "RTX 3090", GpuState.ACTIVE),
        (2, "new", GpuState.ACTIVE),
    ]
    cards.gpus = [GEFORCE, SECOND_GEFORCE]
    clock.now_s += 31
    assert detector.read().gpus[0].sample.state is GpuState.ACTIVE


def test_gpus_are_not_listed_anew_with_every_sample():
    clock = Clock()
    cards = nvidia(GEFORCE)
    detector = unified(cards, clock=clock)
    for _ in range(9):
        detector.read()
        clock.now_s += 1
    assert cards.asked == 1


def test_two_gpus_with_one_uuid_are_two():
    first, second = gpu(GpuType.NVIDIA, "0000:01:00.0"), gpu(GpuType.NVIDIA, "0000:02:00.0")
    same = Gpu(0, first.uuid, second.pci_address, "card", GpuType.NVIDIA, None)
    readings = unified(nvidia(first, same)).read().gpus
    assert [reading.gpu.uuid for reading in readings] == [first.uuid, second.pci_address]


def test_closing_closes_every_detector():
    detectors = [amd(), nvidia(GEFORCE)]
    used = unified(*detectors)
    used.read()
    used.close()
    assert all(detector.closed for detector in detectors)
