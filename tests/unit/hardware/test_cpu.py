"""The CPU is always there, and its load is a load or not yet known, never a made-up 0."""

from __future__ import annotations

import time

import psutil

from fakes.system import FakeSystem
from launchdeck.domain.gpu import GpuType
from launchdeck.hardware.cpu import CPUDetector


def test_one_device_with_the_ram_for_memory():
    detector = CPUDetector()
    (cpu,) = detector.get_gpu_list()
    sample = detector.get_gpu_info(cpu)
    assert detector.is_available()
    assert (cpu.index, cpu.gpu_type, cpu.pci_address) == (0, GpuType.CPU, None)
    assert cpu.total_memory_bytes == psutil.virtual_memory().total
    assert sample.used_memory_bytes + sample.free_memory_bytes == cpu.total_memory_bytes


def work(seconds: float) -> None:
    until_s = time.monotonic() + seconds
    while time.monotonic() < until_s:
        pass


def test_a_load_needs_time_to_be_measured(clock):
    detector = CPUDetector(clock=clock)
    (cpu,) = detector.get_gpu_list()
    work(0.1)
    assert detector.get_gpu_info(cpu).utilization_percent is None
    assert detector.get_gpu_info(cpu).core_percents == ()
    clock.now_s += 1
    assert detector.get_gpu_info(cpu).utilization_percent is not None


def test_a_busy_core_is_seen():
    detector = CPUDetector()
    (cpu,) = detector.get_gpu_list()
    work(0.5)
    sample = detector.get_gpu_info(cpu)
    assert sample.utilization_percent is not None
    assert 100 / psutil.cpu_count() / 4 <= sample.utilization_percent <= 100
    assert len(sample.core_percents) == psutil.cpu_count()
    assert all(0 <= percent <= 100 for percent in sample.core_percents)
    assert max(sample.core_percents) >= sample.utilization_percent - 1


def test_a_core_that_is_switched_off_between_two_samples_leaves_the_load_unknown(clock, monkeypatch):
    detector = CPUDetector(clock=clock)
    (cpu,) = detector.get_gpu_list()
    cores = psutil.cpu_times(percpu=True)
    monkeypatch.setattr(psutil, "cpu_times", lambda percpu: cores[:-1])
    clock.now_s += 1
    sample = detector.get_gpu_info(cpu)
    assert (sample.utilization_percent, sample.core_percents) == (None, ())


def test_the_name_as_linux_tells_it(system: FakeSystem):
    system.write("proc/cpuinfo", "processor\t: 0\nmodel name\t: AMD Ryzen 9 7950X\nflags\t: fpu\nmodel name\t: other")
    assert CPUDetector(root=system.root).get_gpu_list()[0].name == "AMD Ryzen 9 7950X"


def test_a_system_without_cpuinfo_has_some_name(system: FakeSystem):
    assert CPUDetector(root=system.root).get_gpu_list()[0].name
