"""GPUs, and what was measured on them. The CPU is a device of type `cpu`, with RAM for memory."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class GpuType(StrEnum):
    NVIDIA = "nvidia"
    AMD = "amd"
    CPU = "cpu"


class GpuState(StrEnum):
    """`asleep`: runtime-suspended by the system and left alone; `lost`: it does not answer any more."""

    ACTIVE = "active"
    ASLEEP = "asleep"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class Gpu:
    """What does not change while a GPU is there. Its identity is `uuid`; `index` is only its place in our list."""

    index: int
    uuid: str
    pci_address: str | None
    name: str
    gpu_type: GpuType
    total_memory_bytes: int | None
    driver_version: str | None = None
    compute_capability: tuple[int, int] | None = None
    integrated: bool = False


@dataclass(frozen=True, slots=True)
class GpuProcess:
    """A process that holds memory of a GPU; `used_memory_bytes` is None where the driver does not tell."""

    pid: int
    name: str
    used_memory_bytes: int | None


@dataclass(frozen=True, slots=True)
class GpuSample:
    """What was measured at `sampled_at_s` (Unix time). None: not measurable, or not measurable just now."""

    sampled_at_s: float
    used_memory_bytes: int | None = None
    free_memory_bytes: int | None = None
    utilization_percent: int | None = None
    temperature_c: int | None = None
    power_watts: float | None = None
    power_limit_watts: float | None = None
    state: GpuState = GpuState.ACTIVE
    processes: tuple[GpuProcess, ...] = ()


@dataclass(frozen=True, slots=True)
class GpuReading:
    """A device and its latest sample."""

    gpu: Gpu
    sample: GpuSample


@dataclass(frozen=True, slots=True)
class Inventory:
    """All devices of this machine at one moment. `gpus` holds GPUs only, `cpu` is always there.

    `detector` names the class(es) that answered, joined by "+"; `replayed` is True for a recorded inventory.
    """

    gpus: tuple[GpuReading, ...]
    cpu: GpuReading
    detector: str
    sampled_at_s: float
    replayed: bool = False
