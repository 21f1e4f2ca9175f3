"""GPUs, and what was measured on them. The CPU is a device of type `cpu`, with RAM for memory."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Final

from launchdeck.domain.detection import Step
from launchdeck.domain.limits import Bytes, Count, Length
from launchdeck.domain.text import Message

LONGEST_UUID: Final = 128
GpuUuid = Annotated[str, Length(1, LONGEST_UUID)]
_UNIDENTIFIED: Final = "place:"


class GpuType(StrEnum):
    NVIDIA = "nvidia"
    AMD = "amd"
    CPU = "cpu"


class GpuState(StrEnum):
    """`asleep`: runtime-suspended by the system and left alone; `lost`: it does not answer any more;
    `stalled`: a call to its driver has not come back.
    """

    ACTIVE = "active"
    ASLEEP = "asleep"
    LOST = "lost"
    STALLED = "stalled"

    @property
    def answers(self) -> bool:
        """Whether the GPU can be used; a sleeping one wakes up when it is."""
        return self not in {GpuState.LOST, GpuState.STALLED}


@dataclass(frozen=True, slots=True)
class GpuMask:
    """A variable that was set before Launchdeck started and hides a GPU from it: `setting` is "NAME=VALUE".

    `doubt` is a sentence where nobody can tell which GPUs it means, with what would make it clear.
    """

    setting: str
    doubt: Message | None = None


@dataclass(frozen=True, slots=True)
class Gpu:
    """What does not change while a GPU is there. Its identity is `uuid`; `index` is only its place in our list.

    `hip_id` is the number by which AMD's HIP counts it, None where that is not known.
    `gfx_target` is the architecture of an AMD GPU as ROCm calls it: "gfx1100".
    `ours`: whether models may be placed on it; it is shown in any case. `hidden_by` is why not (None: not known).
    `slice_of` is the UUID of the card of which this is a slice (MIG), None for a whole GPU; the address is the card's.
    `problem` says why no model can be started on it, though it is there.
    """

    index: int
    uuid: str
    pci_address: str | None
    name: str
    gpu_type: GpuType
    total_memory_bytes: int | None
    driver_version: str | None = None
    compute_capability: tuple[int, int] | None = None
    integrated: bool = False
    hip_id: int | None = None
    gfx_target: str | None = None
    ours: bool = True
    hidden_by: GpuMask | None = None
    slice_of: str | None = None
    problem: Message | None = None

    @property
    def key(self) -> str:
        """What makes two sources' words one GPU: its place on the bus, which the slices of a card share."""
        return self.uuid if self.slice_of is not None else self.pci_address or self.uuid


@dataclass(frozen=True, slots=True)
class PlannedGpu:
    """A GPU that a request or a plan names, by what it is: enough to find it again, and to name it where it is not
    there any more.

    `index` is the place it had in our list then. `name` is empty where it was never known.
    """

    index: Count
    uuid: GpuUuid
    name: str
    pci_address: str | None = None

    @classmethod
    def of(cls, gpu: Gpu) -> PlannedGpu:
        return cls(gpu.index, gpu.uuid, gpu.name, gpu.pci_address)

    @classmethod
    def unidentified(cls, index: int) -> PlannedGpu:
        """The GPU that once had this place, of which nothing else is known: it is no GPU of today."""
        return cls(index, f"{_UNIDENTIFIED}{index}", "")

    @property
    def is_identified(self) -> bool:
        return not self.uuid.startswith(_UNIDENTIFIED)

    @property
    def short_address(self) -> str | None:
        """Its PCI address without the domain that nearly all have."""
        return None if self.pci_address is None else self.pci_address.removeprefix("0000:")


@dataclass(frozen=True, slots=True)
class GpuProcess:
    """A process that holds memory of a GPU; `used_memory_bytes` is None where the driver does not tell."""

    pid: int
    name: str
    used_memory_bytes: int | None


@dataclass(frozen=True, slots=True)
class GpuSample:
    """What was measured at `sampled_at_s` (Unix time). None: not measurable, or not measurable just now.

    `core_percents` is the load of each core of a CPU; empty for GPUs.
    """

    sampled_at_s: float
    used_memory_bytes: int | None = None
    free_memory_bytes: int | None = None
    utilization_percent: int | None = None
    temperature_c: int | None = None
    power_watts: float | None = None
    power_limit_watts: float | None = None
    graphics_clock_mhz: int | None = None
    memory_clock_mhz: int | None = None
    fan_percent: int | None = None
    state: GpuState = GpuState.ACTIVE
    processes: tuple[GpuProcess, ...] = ()
    core_percents: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Promise:
    """Memory that a launch will take and does not hold yet. `model_id` is the name of its deployment. Up to
    `prompts_bytes` of it are for prompts that it keeps in RAM.
    """

    model_id: str
    size_bytes: Bytes
    prompts_bytes: Bytes = 0


@dataclass(frozen=True, slots=True)
class GpuReading:
    """A device and its latest sample. `promises` are parts of what the sample has as free: together never more."""

    gpu: Gpu
    sample: GpuSample
    promises: tuple[Promise, ...] = ()

    @property
    def promised_bytes(self) -> int:
        return sum(promise.size_bytes for promise in self.promises)


@dataclass(frozen=True, slots=True)
class Inventory:
    """All devices of this machine at one moment. `gpus` holds GPUs only, `cpu` is always there.

    `detector` names the class(es) that answered, joined by "+"; `replayed` is True for a recorded inventory.
    `steps` tells of every source that was to be asked, in their order; a recorded inventory has none.
    """

    gpus: tuple[GpuReading, ...]
    cpu: GpuReading
    detector: str
    sampled_at_s: float
    replayed: bool = False
    steps: tuple[Step, ...] = ()

    @property
    def by_uuid(self) -> dict[str, GpuReading]:
        """The GPUs by what identifies them."""
        return {reading.gpu.uuid: reading for reading in self.gpus}
