"""The RAM that a process may have, and the GPUs that have none but a part of it."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from fakes.nvml import GIB, FakeNvml
from fakes.system import FakeSystem
from launchdeck.hardware.cpu import CPUDetector
from launchdeck.hardware.memory import ram
from launchdeck.hardware.nvidia.detector import NVMLDetector

MIB = 2**20


class Groups:
    """Control groups as the kernel shows them to a process."""

    def __init__(self, system: FakeSystem, membership: str) -> None:
        self._system = system
        system.write("proc/self/cgroup", membership)

    def add(self, path: str, limit: object, used: int = 0, cache: int = 0) -> None:
        folder = f"sys/fs/cgroup/{path}".rstrip("/")
        self._system.write(f"{folder}/memory.max", str(limit))
        self._system.write(f"{folder}/memory.current", str(used))
        self._system.write(f"{folder}/memory.stat", f"anon 4096\ninactive_file {cache}\nactive_file 5")

    def add_v1(self, path: str, limit: int, used: int = 0, cache: int = 0) -> None:
        folder = f"sys/fs/cgroup/memory/{path}".rstrip("/")
        self._system.write(f"{folder}/memory.limit_in_bytes", str(limit))
        self._system.write(f"{folder}/memory.usage_in_bytes", str(used))
        self._system.write(f"{folder}/memory.stat", f"inactive_file 1\ntotal_inactive_file {cache}")


def test_without_groups_it_is_the_computers(system: FakeSystem):
    now, memory = psutil.virtual_memory(), ram(system.root)
    assert memory.total_bytes == now.total
    assert memory.used_bytes + memory.free_bytes == memory.total_bytes


def test_a_container_has_what_it_is_given(system: FakeSystem):
    Groups(system, "0::/").add("", GIB, used=700 * MIB, cache=200 * MIB)
    memory = ram(system.root)
    assert (memory.total_bytes, memory.free_bytes) == (GIB, GIB - 500 * MIB)
    assert memory.used_bytes == 500 * MIB


def test_the_smallest_limit_of_all_groups_above_counts(system: FakeSystem):
    groups = Groups(system, "0::/user.slice/user-1000.slice/app.service")
    groups.add("user.slice", 2 * GIB, used=GIB + 512 * MIB)
    groups.add("user.slice/user-1000.slice", "max", used=GIB)
    groups.add("user.slice/user-1000.slice/app.service", GIB, used=100 * MIB)
    memory = ram(system.root)
    assert (memory.total_bytes, memory.free_bytes) == (GIB, 512 * MIB)


@pytest.mark.parametrize("path", ["/docker/0123456789ab", "/../../system.slice/app.service", ""])
def test_a_path_that_is_not_shown_here_leaves_what_is_shown(system: FakeSystem, path: str):
    Groups(system, f"0::{path}").add("", GIB)
    assert ram(system.root).total_bytes == GIB


@pytest.mark.parametrize("limit", ["max", 2**63 - 4096, "", "nonsense"])
def test_no_limit_changes_nothing(system: FakeSystem, limit: object):
    Groups(system, "0::/").add("", limit, used=5)
    assert ram(system.root).total_bytes == psutil.virtual_memory().total


def test_a_group_that_is_over_its_limit_has_nothing_left(system: FakeSystem):
    Groups(system, "0::/").add("", GIB, used=2 * GIB)
    assert ram(system.root).free_bytes == 0


def test_cache_makes_no_more_of_it_than_the_limit(system: FakeSystem):
    Groups(system, "0::/").add("", GIB, used=10, cache=5 * GIB)
    assert ram(system.root).free_bytes <= GIB


def test_the_older_interface_has_limits_too(system: FakeSystem):
    groups = Groups(system, "5:cpu,cpuacct:/x\n4:memory:/jobs/one\n0::/")
    groups.add_v1("", 2**63 - 4096, used=3 * GIB)
    groups.add_v1("jobs", 2 * GIB, used=GIB)
    groups.add_v1("jobs/one", GIB, used=900 * MIB, cache=800 * MIB)
    memory = ram(system.root)
    assert (memory.total_bytes, memory.free_bytes) == (GIB, GIB - 100 * MIB)


def test_the_cpus_memory_is_what_the_container_has(system: FakeSystem):
    Groups(system, "0::/").add("", GIB, used=GIB // 4)
    detector = CPUDetector(root=system.root)
    (gpu,) = detector.get_gpu_list()
    sample = detector.get_gpu_info(gpu)
    assert (gpu.total_memory_bytes, sample.free_memory_bytes) == (GIB, GIB - GIB // 4)


@pytest.fixture
def nvidia(nvml: FakeNvml, system: FakeSystem):
    detector = NVMLDetector(root=system.root)
    yield lambda: (detector.get_gpu_list()[0], detector.get_gpu_info(detector.get_gpu_list()[0]))
    detector.close()


def close_to(size: int, wanted: int) -> bool:
    """What is free changes from reading to reading."""
    return abs(size - wanted) < GIB


@pytest.mark.parametrize("values", [
    {"error.Memory": 3}, {"total": 0, "used": 0, "reserved": 0},
    {"total": psutil.virtual_memory().total, "used": GIB, "reserved": 0},
    {"total": psutil.virtual_memory().total // MIB * MIB, "used": 0, "reserved": 0},
])  # fmt: skip
def test_a_gpu_whose_memory_is_the_ram_has_what_is_free_of_that(nvml, nvidia, values):
    nvml.add_gpu(name="NVIDIA GB10", **values)
    gpu, sample = nvidia()
    assert (gpu.integrated, gpu.total_memory_bytes) == (True, psutil.virtual_memory().total)
    assert close_to(sample.free_memory_bytes, psutil.virtual_memory().available)
    assert sample.used_memory_bytes + sample.free_memory_bytes == gpu.total_memory_bytes


def test_in_a_container_it_has_what_the_container_has(nvml, nvidia, system):
    Groups(system, "0::/").add("", GIB, used=GIB // 4)
    nvml.add_gpu(name="NVIDIA GB10", total=psutil.virtual_memory().total, used=0, reserved=0)
    gpu, sample = nvidia()
    assert (gpu.total_memory_bytes, sample.free_memory_bytes) == (GIB, GIB - GIB // 4)


@pytest.mark.parametrize("name", ["NVIDIA N1X", "NVIDIA RTX Spark N1X", "NVIDIA Thor", "Orin (nvgpu)"])
def test_a_part_of_the_ram_that_is_set_aside_is_not_all_such_a_chip_can_use(nvml, nvidia, system, name):
    Groups(system, "0::/").add("", 2 * GIB, used=GIB)
    nvml.add_gpu(name=name, total=8128 * MIB, used=199 * MIB, reserved=0)
    gpu, sample = nvidia()
    assert (gpu.integrated, gpu.total_memory_bytes) == (True, 8128 * MIB + 2 * GIB)
    assert sample.free_memory_bytes == (8128 - 199) * MIB + GIB
    assert sample.used_memory_bytes == 199 * MIB + GIB


@pytest.mark.parametrize("name", ["NVIDIA GeForce RTX 4090", "NVIDIA GB100", "NVIDIA GB200", "NVIDIA A100-SXM4-80GB"])
def test_a_cards_memory_is_its_own(nvml, nvidia, name):
    nvml.add_gpu(name=name, total=psutil.virtual_memory().total + GIB, used=GIB, reserved=0)
    gpu, sample = nvidia()
    assert not gpu.integrated
    assert sample.used_memory_bytes == GIB


def test_here_the_real_groups_are_read():
    assert 0 < ram(Path("/")).total_bytes <= psutil.virtual_memory().total
