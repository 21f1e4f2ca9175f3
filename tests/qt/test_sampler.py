"""The sampler's thread: the first sample at once, the interval, failures, and a driver call that never comes back."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import threading
import time

import pytest
from PySide6.QtCore import QObject, QThread, Slot

from launchdeck.domain.gpu import Gpu, GpuReading, GpuSample, GpuType, Inventory
from launchdeck.monitor.sampler import Sampler

CPU = Gpu(0, "cpu", None, "CPU", GpuType.CPU, None)
LONG_S = 60.0


class Source:
    """A source whose every call is written down with its thread; `gate` holds a reading back like a stuck driver."""

    def __init__(self) -> None:
        self.threads: list[int] = []
        self.closed_in: int | None = None
        self.refreshed_in: list[int] = []
        self.gate = threading.Event()
        self.gate.set()
        self.broken = False

    def read(self) -> Inventory:
        self.threads.append(threading.get_ident())
        self.gate.wait(30)
        if self.broken:
            raise OSError("no driver")
        return Inventory((), GpuReading(CPU, GpuSample(time.time())), "Test", time.time())

    def refresh(self) -> None:
        self.refreshed_in.append(threading.get_ident())

    def close(self) -> None:
        self.closed_in = threading.get_ident()


class Receiver(QObject):
    def __init__(self) -> None:
        super().__init__()
        self.samples: list[Inventory] = []
        self.threads: set[QThread] = set()

    @Slot(object)
    def take(self, inventory: Inventory) -> None:
        self.samples.append(inventory)
        self.threads.add(QThread.currentThread())


@pytest.fixture
def source():
    source = Source()
    yield source
    source.gate.set()


@pytest.fixture
def receiver(qapp):
    return Receiver()


@pytest.fixture
def sampler(source, receiver):
    sampler = Sampler(lambda: source, LONG_S)
    sampler.sampled.connect(receiver.take)
    yield sampler
    source.gate.set()
    assert sampler.stop(timeout_s=10)


def test_the_first_sample_comes_at_once_and_in_the_receivers_thread(qtbot, source, sampler, receiver):
    sampler.start()
    qtbot.waitUntil(lambda: len(receiver.samples) >= 1)
    assert receiver.threads == {QThread.currentThread()}
    assert source.threads[0] != threading.get_ident()


def test_samples_follow_at_the_interval(qtbot, sampler, receiver):
    sampler.start()
    sampler.set_interval_s(0.02)
    qtbot.waitUntil(lambda: len(receiver.samples) >= 5)


def test_a_longer_interval_replaces_the_shorter_one(qtbot, sampler, receiver):
    sampler.start()
    sampler.set_interval_s(0.01)
    qtbot.waitUntil(lambda: len(receiver.samples) >= 3)
    sampler.set_interval_s(LONG_S)
    qtbot.wait(100)
    seen = len(receiver.samples)
    qtbot.wait(200)
    assert len(receiver.samples) == seen


def test_a_sample_on_demand(qtbot, sampler, receiver):
    sampler.start()
    qtbot.waitUntil(lambda: len(receiver.samples) == 1)
    sampler.sample_now()
    qtbot.waitUntil(lambda: len(receiver.samples) == 2)


def test_looking_anew_is_done_in_the_worker_and_a_sample_follows(qtbot, source, sampler, receiver):
    sampler.start()
    qtbot.waitUntil(lambda: len(receiver.samples) == 1)
    sampler.refresh()
    qtbot.waitUntil(lambda: len(receiver.samples) == 2)
    assert source.refreshed_in == [source.threads[0]]


def test_the_source_is_closed_in_its_own_thread(qtbot, source, sampler, receiver):
    sampler.start()
    qtbot.waitUntil(lambda: len(receiver.samples) >= 1)
    assert sampler.stop()
    assert source.closed_in == source.threads[0]


def test_stopping_twice_and_without_a_start(source, sampler):
    assert sampler.stop()
    assert sampler.stop()
    assert source.threads == []


@pytest.mark.expects_log_errors
def test_a_failing_source_is_named_once_and_asked_again(qtbot, source, sampler, receiver, caplog):
    source.broken = True
    sampler.start()
    sampler.set_interval_s(0.01)
    qtbot.waitUntil(lambda: len(source.threads) >= 4)
    source.broken = False
    qtbot.waitUntil(lambda: len(receiver.samples) >= 1)
    assert [record.getMessage() for record in caplog.records] == ["The devices could not be read."]


def test_a_stuck_driver_call_stops_neither_the_window_nor_quitting(qtbot, source, sampler, receiver, caplog):
    source.gate.clear()
    sampler.start()
    qtbot.waitUntil(lambda: len(source.threads) >= 1)
    begin_s = time.monotonic()
    qtbot.wait(50)  # the window's own loop goes on
    assert not sampler.stop(timeout_s=0.2)
    assert not sampler.stop(timeout_s=0.2)
    assert time.monotonic() - begin_s < 10
    assert len(caplog.records) == 1
    assert "has not come back" in caplog.records[0].getMessage()
    source.gate.set()
    assert sampler.stop(timeout_s=10)
    qtbot.wait(50)
    assert receiver.samples == []


HANGING_PROGRAM = """
    import ctypes
    from PySide6.QtCore import QCoreApplication, QTimer
    from launchdeck.monitor.sampler import Sampler

    class Stuck:
        def __init__(self):
            self.asked = 0
        def read(self):
            self.asked += 1
            if self.asked > 1:
                ctypes.CDLL(None).sleep(30)
        def close(self):
            pass

    application = QCoreApplication([])
    sampler = Sampler(Stuck, 0.05)
    sampler.start()

    def leave():
        print("stopped:", sampler.stop(timeout_s=0.3))
        application.quit()

    QTimer.singleShot(500, leave)
    application.exec()
    {end}
"""


@pytest.mark.parametrize("end", ["", "del sampler", "del sampler, application; import gc; gc.collect()"])
def test_the_process_ends_cleanly_although_a_driver_call_is_stuck(end: str):
    program = textwrap.dedent(HANGING_PROGRAM).replace("{end}", end)
    begin_s = time.monotonic()
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert time.monotonic() - begin_s < 15  # and not the 30 s of the call
    assert (result.returncode, result.stdout) == (0, "stopped: False\n"), result.stderr
    assert "QThread" not in result.stderr
    assert "QObject" not in result.stderr


PLAIN_PROGRAM = """
    import asyncio
    from PySide6.QtCore import QCoreApplication
    from launchdeck.hardware.unified import UnifiedGPUDetector
    from launchdeck.monitor.sampler import Sampler

    async def main():
        loop, taken = asyncio.get_running_loop(), asyncio.Queue()
        take = lambda inventory: loop.call_soon_threadsafe(taken.put_nowait, inventory)
        sampler = Sampler(UnifiedGPUDetector, 0.05, on_sample=take)
        sampler.start()
        readings = [await asyncio.wait_for(taken.get(), 20) for _ in range(3)]
        print(len(readings), readings[0].cpu.gpu.total_memory_bytes > 0, sampler.stop(10))

    application = QCoreApplication([])
    asyncio.run(main())
"""


def test_a_plain_asyncio_loop_gets_samples():
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(PLAIN_PROGRAM)], capture_output=True, text=True, timeout=60, check=False
    )
    assert result.stdout == "3 True True\n", result.stderr
