"""What a process holds on a GPU besides the buffers that the engine counts, learned from real starts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from launchdeck.domain.deployment import Deployment, State
from launchdeck.domain.units import GIB
from launchdeck.files.json_file import JsonFile
from launchdeck.files.later import LaterFile

if TYPE_CHECKING:
    from pathlib import Path

    from launchdeck.domain.gpu import Gpu, GpuReading, Inventory
    from launchdeck.domain.plan import EngineInfo, LaunchPlan

# More cannot be a driver's context: something of this very model lies there, and no other should be charged with it.
LARGEST_BYTES = 4 * GIB
_SETTLED_S = 2.0


class Residuals:
    """The smallest measured residual for each GPU, driver and engine build.

    What the driver holds for a process is the same for every model: 589 MiB on an H200, to the MiB. What some models
    take besides while they are used is theirs: 12 MiB, or 280 where scores of attention are converted. A start that is
    looked at only after its first requests has to say nothing about other models.
    """

    def __init__(self, file: Path | None = None) -> None:
        known = None if file is None else JsonFile(file)
        self._bytes = {} if known is None else _checked(known.read())
        self._file = None if known is None else LaterFile(known)
        self._learned: set[str] = set()

    def get(self, gpu: Gpu, engine: EngineInfo) -> int | None:
        """Bytes, None where no start has shown any."""
        return self._bytes.get(_key(gpu, engine)) if self._bytes else None

    @property
    def gpu_uuids(self) -> set[str]:
        """The GPUs that models have run on."""
        return {key.partition(" ")[0] for key in self._bytes}

    def learn(self, deployment: Deployment, inventory: Inventory) -> None:
        """Once for each deployment: when it runs, has warmed up, and the driver tells what its processes hold."""
        ready_at_s = deployment.ready_at_s
        if deployment.id in self._learned or deployment.state is not State.RUNNING or ready_at_s is None:
            return
        if inventory.replayed or inventory.sampled_at_s < ready_at_s + _SETTLED_S:
            return
        readings = inventory.by_uuid
        for place, gpu in enumerate(deployment.plan.gpus):
            if gpu.uuid in readings:
                self._learn_gpu(deployment, readings[gpu.uuid], place)
        self._learned.add(deployment.id)

    def _learn_gpu(self, deployment: Deployment, reading: GpuReading, place: int) -> None:
        held_bytes = held_on(reading, deployment.pids)
        counted_bytes = _counted_bytes(deployment.plan, deployment, place)
        if held_bytes is None or not counted_bytes or not 0 <= held_bytes - counted_bytes <= LARGEST_BYTES:
            return
        key, residual_bytes = _key(reading.gpu, deployment.plan.engine), held_bytes - counted_bytes
        if residual_bytes >= self._bytes.get(key, LARGEST_BYTES + 1):
            return
        self._bytes[key] = residual_bytes
        if self._file:
            self._file.write(self._bytes)


def _checked(document: dict[str, Any]) -> dict[str, int]:
    """What may stand in the file: a residual that could have been learned."""
    return {key: value for key, value in document.items() if type(value) is int and 0 <= value <= LARGEST_BYTES}


def held_on(reading: GpuReading, pids: tuple[int, ...]) -> int | None:
    """What these processes hold on this GPU; None where the driver does not tell."""
    told = [process.used_memory_bytes for process in reading.sample.processes if process.pid in pids]
    known = [used_bytes for used_bytes in told if used_bytes is not None]
    return sum(known) if known else None


def _counted_bytes(plan: LaunchPlan, deployment: Deployment, place: int) -> int:
    """The buffers as the engine told them, or as they were predicted."""
    name = plan.device_names[place]
    told = sum(buffer.size_bytes for buffer in deployment.applied.buffers if buffer.device == name)
    device = plan.estimate.devices[place]
    return told or device.weights_bytes + device.kv_bytes + device.compute_bytes


def _key(gpu: Gpu, engine: EngineInfo) -> str:
    return f"{gpu.uuid} {gpu.driver_version} {engine.kind} {engine.build or engine.version}"
