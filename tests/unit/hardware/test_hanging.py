"""A driver call that does not come back: its GPUs are stalled, the others go on, and nobody waits for it twice."""

from __future__ import annotations

import logging
import threading
import time

import pytest

from fakes.detector import Detector
from fakes.nvml import GIB, FakeNvml
from fakes.system import FakeSystem
from launchdeck.domain.detection import Outcome
from launchdeck.domain.gpu import Gpu, GpuState, GpuType
from launchdeck.hardware.amd.sysfs import AMDGPUSysfsDetector
from launchdeck.hardware.cpu import CPUDetector
from launchdeck.hardware.nvidia.detector import NVMLDetector
from launchdeck.hardware.owner_thread import OwnerThread, StalledError
from launchdeck.hardware.patience import Patience
from launchdeck.hardware.unified import UnifiedGPUDetector

HANGS_MS = 30_000
PATIENCE_S = 0.3
LITTLE = Patience(PATIENCE_S, PATIENCE_S, PATIENCE_S)


@pytest.fixture
def detector(nvml: FakeNvml, system: FakeSystem):
    """One AMD card, which the kernel's files tell of, and one NVIDIA card."""
    system.add_amd("0000:0c:00.0")
    nvml.add_gpu()
    parts = [AMDGPUSysfsDetector(root=system.root), NVMLDetector(root=system.root), CPUDetector()]
    detector = UnifiedGPUDetector(detectors=parts, patience=LITTLE)
    yield detector
    release(nvml)
    detector.close()


def hang(nvml: FakeNvml, call: str) -> None:
    nvml.set(**{f"delay_ms.{call}": HANGS_MS})


def release(nvml: FakeNvml) -> None:
    nvml.set(**{f"delay_ms.{call}": None for call in ("Init", "Count", "Utilization", "Memory", "Shutdown")})


def states(detector: UnifiedGPUDetector) -> list[str]:
    return [str(reading.sample.state) for reading in detector.read().gpus]


def until(is_true, deadline_s: float = 20.0) -> None:
    end_s = time.monotonic() + deadline_s
    while not is_true():
        assert time.monotonic() < end_s
        time.sleep(0.02)


@pytest.mark.parametrize("call", ["Utilization", "Memory"])
def test_its_gpus_are_stalled_until_it_comes_back(nvml, detector, call):
    assert states(detector) == ["active", "active"]
    hang(nvml, call)
    assert states(detector) == ["active", "stalled"]
    assert detector.steps[1].outcome is Outcome.STALLED
    release(nvml)
    until(lambda: states(detector) == ["active", "active"])
    assert detector.read().gpus[1].sample.used_memory_bytes == 2 * GIB


def test_the_other_gpus_of_the_same_driver_go_on(nvml, detector):
    nvml.add_gpu()
    nvml.add_gpu()
    assert states(detector) == ["active"] * 4
    nvml.set(**{"2.delay_ms.Utilization": HANGS_MS})
    assert states(detector) == ["active", "active", "active", "stalled"]
    for busy in range(5):
        nvml.set(**{"0.util": busy})
        readings = detector.read().gpus
        assert [str(reading.sample.state) for reading in readings] == ["active", "active", "active", "stalled"]
        assert readings[1].sample.utilization_percent == busy
    nvml.set(**{"2.delay_ms.Utilization": None})
    until(lambda: states(detector) == ["active"] * 4)
    until(lambda: states(detector) and detector.steps[1].outcome is Outcome.FOUND, 5)


def test_gpus_that_are_slow_each_for_itself_are_not_stalled(nvml, detector):
    for _ in range(7):
        nvml.add_gpu()
    detector.read()
    nvml.set(**{"delay_ms.Utilization": int(PATIENCE_S * 1000 / 3)})
    assert states(detector) == ["active"] * 9
    assert detector.steps[1].outcome is Outcome.FOUND


def test_all_gpus_of_a_driver_that_hang_are_waited_for_once(nvml, detector):
    for _ in range(7):
        nvml.add_gpu()
    detector.read()
    hang(nvml, "Utilization")
    begin_s = time.monotonic()
    assert states(detector) == ["active", *["stalled"] * 8]
    assert time.monotonic() - begin_s < 5 * 8 * PATIENCE_S
    assert states(detector) == ["active", *["stalled"] * 8]
    release(nvml)
    until(lambda: states(detector) == ["active"] * 9)


def test_a_gpu_that_hangs_when_it_is_opened_does_not_hide_the_others(nvml, system, caplog):
    nvml.add_gpu()
    nvml.add_gpu(**{"delay_ms.Memory": HANGS_MS})
    nvml.add_gpu()
    detector = NVMLDetector(root=system.root, opening_patience_s=PATIENCE_S)
    assert [gpu.pci_address for gpu in detector.get_gpu_list()] == ["0000:01:00.0", "0000:03:00.0"]
    assert [record.getMessage() for record in caplog.records] == ["NVIDIA GPU 1 has not answered for 0.3 s."]
    nvml.set(**{"1.delay_ms.Memory": None})
    until(lambda: len(detector.get_gpu_list()) == 3)
    assert detector.get_gpu_info(detector.get_gpu_list()[1]).used_memory_bytes == 2 * GIB
    detector.close()


@pytest.mark.parametrize("with_kernel", [True, False])
@pytest.mark.parametrize("from_the_start", [True, False])
def test_a_count_that_hangs_costs_the_count_alone(nvml, system, clock, with_kernel, from_the_start):
    for place in range(8):
        nvml.add_gpu()
        if with_kernel:
            system.add_card(f"0000:{place + 1:02x}:00.0")
    part = NVMLDetector(root=system.root, counting_patience_s=0.05)
    detector = UnifiedGPUDetector(detectors=[part, CPUDetector()], patience=LITTLE, clock=clock)
    if not from_the_start:
        assert states(detector) == ["active"] * 8
    hang(nvml, "Count")
    for busy in range(3):
        nvml.set(**{"3.util": busy})
        readings = detector.read().gpus
        assert [str(reading.sample.state) for reading in readings] == ["active"] * 8
        assert readings[3].sample.utilization_percent == busy
        clock.now_s += 11
    detector.refresh()
    assert nvml.calls("Shutdown") == 0  # the count is still in the library
    assert states(detector) == ["active"] * 8
    release(nvml)
    detector.close()


def test_a_gpu_that_opens_after_the_library_was_closed_is_forgotten(nvml, system):
    nvml.add_gpu(**{"delay_ms.Memory": HANGS_MS})
    detector = NVMLDetector(root=system.root, opening_patience_s=PATIENCE_S)
    assert detector.get_gpu_list() == []
    detector.close()
    nvml.set(**{"0.delay_ms.Memory": None})
    (gpu,) = detector.get_gpu_list()
    assert detector.get_gpu_info(gpu).state is GpuState.ACTIVE
    detector.close()


def test_while_a_reading_hangs_the_library_is_not_closed(nvml, detector):
    nvml.add_gpu()
    detector.read()
    nvml.set(**{"0.delay_ms.Memory": HANGS_MS})
    detector.read()
    detector.refresh()
    assert states(detector) == ["active", "stalled", "active"]
    detector.close()
    assert nvml.calls("Shutdown") == 0


def test_the_others_are_not_held_up_again(nvml, detector, system):
    detector.read()
    hang(nvml, "Utilization")
    detector.read()
    calls = nvml.calls()
    begin_s = time.monotonic()
    for busy in range(20):
        system.write("sys/bus/pci/devices/0000:0c:00.0/gpu_busy_percent", str(busy))
        radeon, geforce = detector.read().gpus
        assert (radeon.sample.utilization_percent, geforce.sample.state) == (busy, GpuState.STALLED)
    assert time.monotonic() - begin_s < 5  # waiting each time would have taken 6 s
    assert nvml.calls() == calls


def test_a_library_that_hangs_when_it_is_opened_hides_nobody(nvml, detector, caplog):
    hang(nvml, "Init")
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert states(detector) == ["active"]
    assert (detector.steps[1].detector, detector.steps[1].outcome) == ("NVMLDetector", Outcome.STALLED)
    assert "has not answered" in str(detector.steps[1].reason)
    assert len(caplog.records) == 1
    release(nvml)
    until(lambda: states(detector) == ["active", "active"])
    assert detector.steps[1].outcome is Outcome.FOUND


class Slow(Detector):
    """Like PyTorch: a last resort that takes its time, the first time."""

    def __init__(self, gate: threading.Event) -> None:
        super().__init__("Slow", GpuType.NVIDIA, Gpu(0, "GPU-1", None, "RTX", GpuType.NVIDIA, GIB), last_resort=True)
        self._gate = gate

    def get_gpu_list(self) -> list[Gpu]:
        self._gate.wait(30)
        return super().get_gpu_list()


def test_a_last_resort_that_takes_long_is_shown_when_it_answers():
    gate = threading.Event()
    slow = Slow(gate)
    detector = UnifiedGPUDetector(detectors=[slow, CPUDetector()], patience=LITTLE)
    assert states(detector) == []
    gate.set()
    until(lambda: states(detector) == ["active"])
    asked = slow.asked
    detector.read()
    assert slow.asked == asked
    detector.close()


def test_a_last_resort_that_is_not_needed_any_more_is_let_go(clock):
    gate = threading.Event()
    slow, library = Slow(gate), Detector("Library", GpuType.NVIDIA)
    detector = UnifiedGPUDetector(detectors=[library, slow, CPUDetector()], patience=LITTLE, clock=clock)
    detector.read()
    library.gpus = list(slow.gpus)
    gate.set()
    until(lambda: detector.read().gpus)
    asked = library.asked
    for _ in range(3):
        detector.read()
    assert (library.asked, detector.steps[1].outcome) == (asked, Outcome.SKIPPED)
    detector.close()


def test_closing_does_not_wait_for_it(nvml, detector):
    detector.read()
    hang(nvml, "Memory")
    detector.read()
    begin_s = time.monotonic()
    detector.close()
    assert time.monotonic() - begin_s < 5


def test_refreshing_opens_the_library_anew(nvml, detector):
    detector.read()
    detector.refresh()
    nvml.add_gpu(name="NVIDIA A2")
    assert [reading.gpu.name for reading in detector.read().gpus][2:] == ["NVIDIA A2"]
    assert nvml.calls("Init") == 2


def test_all_calls_come_from_one_thread_that_is_not_the_callers():
    owner = OwnerThread("test")
    threads = {owner.call(threading.get_ident, 5.0) for _ in range(3)}
    owner.end()
    assert len(threads) == 1
    assert threads != {threading.get_ident()}


def test_what_a_call_raises_is_the_callers():
    owner = OwnerThread("test")
    with pytest.raises(TimeoutError, match="the driver's own"):
        owner.call(lambda: (_ for _ in ()).throw(TimeoutError("the driver's own")), 5.0)
    assert owner.call(lambda: 1, 5.0) == 1
    owner.end()


def test_the_answer_to_a_call_that_was_given_up_is_not_taken_for_the_next_ones():
    gate = threading.Event()
    owner = OwnerThread("test")
    for _ in range(2):
        with pytest.raises(StalledError):
            owner.call(gate.wait, 0.05)
    gate.set()
    until(lambda: not owner.is_stalled)
    assert owner.call(lambda: "next", 5.0) == "next"
    owner.end()
