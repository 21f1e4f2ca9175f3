"""The RAM that a process may have, and the GPUs that have none but a part of it."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from fakes.amdsmi import FakeAmdSmi
from fakes.nvml import GIB, FakeNvml
from fakes.system import FakeSystem
from launchdeck.domain.gpu import Gpu, GpuSample
from launchdeck.hardware.amd.detector import AMDSMIDetector
from launchdeck.hardware.amd.sysfs import AMDGPUSysfsDetector
from launchdeck.hardware.cpu import CPUDetector
from launchdeck.hardware.memory import ram
from launchdeck.hardware.nvidia.detector import NVMLDetector
from launchdeck.hardware.unified import UnifiedGPUDetector

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


def test_a_limit_counts_also_where_nobody_says_what_is_used(system: FakeSystem):
    Groups(system, "0::/").add("", GIB)
    (system.root / "sys/fs/cgroup/memory.current").unlink()
    memory = ram(system.root)
    assert memory.total_bytes == GIB
    assert 0 <= memory.free_bytes <= GIB


def test_what_can_be_given_back_is_read_where_there_is_a_limit_alone(system: FakeSystem, opened: list[str]):
    """4 and 64 KiB are the sizes of pages to which the kernel rounds its "no limit" down."""
    groups = Groups(system, "4:memory:/jobs/one/real\n0::/app")
    groups.add_v1("", 2**63 - 4096, used=3 * GIB)
    groups.add_v1("jobs", 2**63 - 65536, used=3 * GIB)
    groups.add_v1("jobs/one", psutil.virtual_memory().total + GIB, used=3 * GIB)
    groups.add_v1("jobs/one/real", GIB, used=3 * GIB)
    groups.add("app", "max", used=GIB)
    opened.clear()
    ram(system.root)
    read = [file for file in opened if file.endswith("memory.stat")]
    assert read == [str(system.root / "sys/fs/cgroup/memory/jobs/one/real/memory.stat")]


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


def test_a_limit_that_changes_is_obeyed_at_once(nvml: FakeNvml, system: FakeSystem):
    groups = Groups(system, "0::/")
    groups.add("", GIB, used=GIB // 4)
    nvml.add_gpu(name="NVIDIA GB10", **{"error.Memory": 3})
    nvml.add_gpu(name="NVIDIA Thor", total=4 * GIB, used=GIB, reserved=0)
    unified = UnifiedGPUDetector(
        detectors=[NVMLDetector(root=system.root), CPUDetector(root=system.root)], clock=lambda: 1000.0
    )

    def sizes() -> list[tuple[int | None, int | None]]:
        inventory = unified.read()
        return [(one.gpu.total_memory_bytes, one.sample.used_memory_bytes) for one in (*inventory.gpus, inventory.cpu)]

    try:
        assert sizes() == [(GIB, GIB // 4), (5 * GIB, GIB + GIB // 4), (GIB, GIB // 4)]
        groups.add("", 2 * GIB, used=GIB + GIB // 2)
        assert sizes() == [(2 * GIB, GIB + GIB // 2), (6 * GIB, 2 * GIB + GIB // 2), (2 * GIB, GIB + GIB // 2)]
    finally:
        unified.close()


@pytest.mark.parametrize("with_library", [True, False])
def test_what_an_apu_may_use_of_the_ram_is_bounded_by_the_limit(amdsmi: FakeAmdSmi, system: FakeSystem, with_library):
    groups = Groups(system, "0::/")
    groups.add("", GIB, used=GIB // 4)
    address = "0000:03:00.0"
    system.add_amd(address, integrated=True, mem_info_vram_total=GIB, mem_info_vram_used=0, mem_info_gtt_used=0)
    amdsmi.add_gpu(vram_total=GIB, vram_used=0, gtt_total=16 * GIB, gtt_used=0)
    detector = (AMDSMIDetector if with_library else AMDGPUSysfsDetector)(root=system.root)
    (gpu,) = detector.get_gpu_list()
    sample = detector.get_gpu_info(gpu)
    assert (gpu.total_memory_bytes, sample.free_memory_bytes) == (2 * GIB, GIB + GIB * 3 // 4)
    groups.add("", GIB // 2, used=GIB // 4)
    (gpu,) = detector.get_gpu_list()
    assert gpu.total_memory_bytes == GIB + GIB // 2
    detector.close()


@pytest.fixture
def nvidia(nvml: FakeNvml, system: FakeSystem):
    watched = Watched(NVMLDetector(root=system.root))
    yield watched
    watched.detector.close()


@pytest.mark.parametrize("with_library", [True, False])
def test_an_apu_that_tells_nothing_for_once_keeps_its_size(amdsmi: FakeAmdSmi, system: FakeSystem, with_library):
    address = "0000:03:00.0"
    system.add_amd(address, integrated=True, mem_info_vram_total=GIB, mem_info_gtt_total=GIB)
    amdsmi.add_gpu(vram_total=GIB, gtt_total=GIB)
    detector = (AMDSMIDetector if with_library else AMDGPUSysfsDetector)(root=system.root)
    (before,) = detector.get_gpu_list()
    (system.root / f"sys/bus/pci/devices/{address}/mem_info_vram_used").unlink()
    amdsmi.set(**{"0.error.MemoryUsage": 43})
    assert detector.get_gpu_list() == [before]
    assert before.total_memory_bytes == 2 * GIB
    detector.close()


class Watched:
    """Called, it gives the first GPU and a sample of it."""

    def __init__(self, detector: NVMLDetector) -> None:
        self.detector = detector

    def all(self) -> list[tuple[Gpu, GpuSample]]:
        return [(gpu, self.detector.get_gpu_info(gpu)) for gpu in self.detector.get_gpu_list()]

    def __call__(self) -> tuple[Gpu, GpuSample]:
        return self.all()[0]


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


CARDS = [
    "NVIDIA GeForce RTX 4090", "NVIDIA GeForce GTX 1080 Ti", "Quadro P620", "Tesla T4", "NVIDIA TITAN V",
    "NVIDIA A100-SXM4-80GB", "NVIDIA H100 PCIe", "NVIDIA L40S", "NVIDIA B200", "NVIDIA RTX 6000 Ada Generation",
    "NVIDIA GH200 480GB", "NVIDIA RTX PRO 6000 Blackwell", "GRID T4-16Q", "NVIDIA GeForce MX450",
]  # fmt: skip


@pytest.mark.parametrize("name", CARDS)
@pytest.mark.parametrize("values", [{"error.Memory": 3}, {"total": 0, "used": 0, "reserved": 0}])
def test_a_card_that_tells_of_no_memory_is_not_measurable(nvml, nvidia, name, values):
    nvml.add_gpu(name=name, **values)
    gpu, sample = nvidia()
    assert (gpu.integrated, gpu.total_memory_bytes) == (False, None)
    assert (sample.used_memory_bytes, sample.free_memory_bytes) == (None, None)


def test_nor_is_one_that_does_not_even_tell_its_name(nvml, nvidia):
    nvml.add_gpu(total=0, used=0, reserved=0, **{"error.Name": 999})
    gpu, _ = nvidia()
    assert (gpu.integrated, gpu.total_memory_bytes) == (False, None)


def test_a_card_that_tells_its_memory_later_has_it_then(nvml, nvidia):
    nvml.add_gpu(total=0, used=0, reserved=0)
    nvidia()
    nvml.set(**{"0.total": 24 * GIB, "0.used": 2 * GIB})
    nvidia()
    gpu, sample = nvidia()
    assert (gpu.total_memory_bytes, sample.used_memory_bytes) == (24 * GIB, 2 * GIB)


@pytest.mark.parametrize(("name", "more", "is_ram"), [
    ("NVIDIA GeForce RTX 4090", 0, False), ("NVIDIA Graphics Device", 2 * MIB, True),
    ("NVIDIA Graphics Device", 3 * MIB, False), ("NVIDIA GB10", 3 * MIB, True), ("NVIDIA Grace iGPU", -3 * MIB, True),
])  # fmt: skip
def test_what_has_the_size_of_the_ram_is_the_ram_where_it_may_be(nvml, nvidia, name, more, is_ram):
    nvml.add_gpu(name=name, total=psutil.virtual_memory().total + more, used=GIB, reserved=0)
    assert nvidia()[0].integrated is is_ram


def test_whose_memory_it_is_is_decided_once(nvml, nvidia):
    installed = psutil.virtual_memory().total
    nvml.add_gpu(name="NVIDIA Graphics Device", total=installed // 2, used=0, reserved=0)
    nvml.add_gpu(name="NVIDIA Graphics Device", total=installed, used=GIB, reserved=0)
    nvidia.all()
    nvml.set(**{"0.total": installed, "1.total": installed // 2})
    (card, of_card), (shared, of_shared) = nvidia.all()
    assert (card.integrated, card.total_memory_bytes, of_card.used_memory_bytes) == (False, installed // 2, 0)
    assert (shared.integrated, shared.total_memory_bytes) == (True, installed)
    assert of_shared.used_memory_bytes + of_shared.free_memory_bytes == installed


def test_a_slice_is_never_the_ram(nvml, nvidia):
    nvml.add_gpu(name="NVIDIA Graphics Device")
    nvml.add_slice(0, total=psutil.virtual_memory().total, used=MIB)
    gpu, sample = nvidia()
    assert not gpu.integrated
    assert sample.used_memory_bytes == MIB


def test_here_the_real_groups_are_read():
    assert 0 < ram(Path("/")).total_bytes <= psutil.virtual_memory().total
