"""Memory that is free and spoken for: what launches will take, and do not hold yet.

It is the mirror of `planning.returned`. A launch is promised what was predicted for it, less what its processes are
seen to hold, until a reading has to show all of it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from launchdeck.domain.deployment import Deployment, State
from launchdeck.domain.gpu import GpuReading, Inventory, Promise
from launchdeck.engines.devices.devices import free_bytes
from launchdeck.engines.registry import engine_of
from launchdeck.engines.residuals import held_on

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator
    from pathlib import Path

    from launchdeck.domain.plan import DeviceEstimate

# No two readings lie further apart: one that comes so late after a start has another before it.
_LONGEST_INTERVAL_S = 60.0


@dataclass(frozen=True, slots=True)
class _Taken:
    """What one launch will take at one place: a GPU (its uuid), or RAM (None). `ram_bytes` of it lie in RAM, which is
    all of it there, and of a GPU that shares RAM what exceeds the part that was set aside for it.
    """

    model_id: str
    uuid: str | None
    size_bytes: int
    ram_bytes: int
    prompts_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Promises:
    """What is promised, in the order in which it was. `shared_bytes` is the most that one of the launches has in RAM of
    the file that is to be mapped once more: it is in nobody's promise, and whoever maps less of it takes no less.
    """

    taken: tuple[_Taken, ...] = ()
    shared_bytes: int = 0

    def of(self, reading: GpuReading) -> tuple[Promise, ...]:
        """All that the free memory of this GPU has to do for: of one that shares RAM also what others take of that."""
        shares = reading.gpu.integrated
        return _merged(
            (one, one.size_bytes if one.uuid == reading.gpu.uuid else one.ram_bytes if shares else 0)
            for one in self.taken
        )

    @property
    def ram(self) -> tuple[Promise, ...]:
        return _merged((one, one.ram_bytes) for one in self.taken)


def promises(
    deployments: Iterable[Deployment], inventory: Inventory, *, before_s: float | None, shared: Path | None = None
) -> Promises:
    """What these deployments have been promised and do not hold in this reading.

    `before_s` is when the reading before it was taken, None if there was none. `shared` is the file that a launch which
    is to be planned will map: what others have mapped of it takes no RAM a second time.
    """
    readings = inventory.by_uuid
    set_aside = {uuid: _set_aside_bytes(reading, inventory.cpu) for uuid, reading in readings.items()}
    mapped: dict[Path, int] = {}
    taken = []
    for deployment in deployments:
        if not deployment.state.is_live or deployment.state is State.STOPPING:
            continue  # whoever is being stopped takes no more
        taken.append(_of_host(deployment, inventory.cpu, mapped, shared))
        for uuid, device in _devices(deployment):
            if uuid in readings:
                size_bytes = _on_gpu_bytes(deployment, device, readings[uuid], before_s)
                in_ram_bytes = max(size_bytes - set_aside[uuid], 0) if readings[uuid].gpu.integrated else 0
                set_aside[uuid] = max(set_aside[uuid] - size_bytes, 0)
                taken.append(_Taken(deployment.plan.model_id, uuid, size_bytes, in_ram_bytes))
    shared_bytes = 0 if shared is None else mapped.get(shared, 0)
    return Promises(tuple(one for one in taken if one.size_bytes), shared_bytes)


def _merged(shares: Iterable[tuple[_Taken, int]]) -> tuple[Promise, ...]:
    """One promise for each launch."""
    merged: dict[str, Promise] = {}
    for one, size_bytes in shares:
        if size_bytes:
            known = merged.get(one.model_id, Promise(one.model_id, 0))
            merged[one.model_id] = replace(
                known, size_bytes=known.size_bytes + size_bytes, prompts_bytes=known.prompts_bytes + one.prompts_bytes
            )
    return tuple(merged.values())


def _set_aside_bytes(reading: GpuReading, cpu: GpuReading) -> int:
    """What a GPU that shares RAM has free beyond that: see `planning.shared_ram`."""
    free, in_ram = free_bytes(replace(reading, promises=())), free_bytes(replace(cpu, promises=()))
    return 0 if free is None or in_ram is None else max(free - in_ram, 0)


def with_promises(inventory: Inventory, promised: Promises) -> Inventory:
    """The inventory with every promise at its device; the same one if there are none."""
    if not promised.taken:
        return inventory
    return replace(
        inventory,
        gpus=tuple(_promised(reading, promised.of(reading)) for reading in inventory.gpus),
        cpu=_promised(inventory.cpu, promised.ram),
    )


def _devices(deployment: Deployment) -> Iterator[tuple[str, DeviceEstimate]]:
    """The uuid of each GPU of the plan, and what it was to take there. Workers come after them."""
    plan = deployment.plan
    for gpu, device in zip(plan.gpus, plan.estimate.devices, strict=False):
        yield gpu.uuid, device


def _on_gpu_bytes(deployment: Deployment, device: DeviceEstimate, reading: GpuReading, before_s: float | None) -> int:
    held_bytes = held_on(reading, deployment.pids)
    if _shows_all(deployment, reading, before_s, is_counted=held_bytes is not None):
        return 0
    return max(device.total_bytes - (held_bytes or 0), 0)


def _shows_all(deployment: Deployment, reading: GpuReading, before_s: float | None, *, is_counted: bool) -> bool:
    """Whether this reading has all that the engine takes: it was taken after the engine was ready. Where the driver
    does not count the memory of its processes, a second one has to say so: the first may have begun before.
    """
    ready_at_s, sampled_at_s = deployment.ready_at_s, reading.sample.sampled_at_s
    if ready_at_s is None or sampled_at_s <= ready_at_s:
        return False
    is_second = before_s is not None and ready_at_s < before_s < sampled_at_s
    return is_counted or is_second or sampled_at_s > ready_at_s + _LONGEST_INTERVAL_S


def _of_host(deployment: Deployment, cpu: GpuReading, mapped: dict[Path, int], shared: Path | None) -> _Taken:
    """What the model needs of RAM, less what the kernel counts as taken. `mapped` is what was counted of files already;
    of `shared` nothing is.

    That is memory of the processes' own alone. The weights are pages of a file, mapped; the kernel could take them back
    and counts them as available, however many are resident, while the model needs all of them for every token. So they
    stay promised as long as the model lives, once for all that map the same file. Where they are copied instead
    (`--no-mmap`, vLLM) they are the engine's own, and the promise ends. The prompt cache fills later, and is promised
    until it has.
    """
    plan, host = deployment.plan, deployment.plan.estimate.host
    file_bytes = host.weights_bytes if engine_of(plan.engine.kind).maps_file(plan.request) else 0
    left_bytes = max(host.total_bytes - (deployment.own_ram_bytes or 0), 0)
    if deployment.ready_at_s is not None and cpu.sample.sampled_at_s > deployment.ready_at_s:
        # A driver's pinned buffers are taken from RAM and belong to no process: what runs has them.
        left_bytes = min(left_bytes, file_bytes + host.overhead_bytes)
    prompts_bytes, file_bytes = min(left_bytes, host.overhead_bytes), min(left_bytes, file_bytes)
    path = plan.request.model_path
    known_bytes = mapped.get(path, 0)
    mapped[path] = max(known_bytes, file_bytes)
    size_bytes = left_bytes - (file_bytes if path == shared else min(file_bytes, known_bytes))
    return _Taken(plan.model_id, None, size_bytes, size_bytes, min(prompts_bytes, size_bytes))


def _promised(reading: GpuReading, promised: Collection[Promise]) -> GpuReading:
    """No more is promised of a device than is free on it: who came first has what there is."""
    left_bytes = free_bytes(replace(reading, promises=()))
    kept = []
    for promise in promised:
        size_bytes = promise.size_bytes if left_bytes is None else min(promise.size_bytes, left_bytes)
        left_bytes = None if left_bytes is None else left_bytes - size_bytes
        if size_bytes:
            prompts_bytes = min(promise.prompts_bytes, size_bytes)
            kept.append(replace(promise, size_bytes=size_bytes, prompts_bytes=prompts_bytes))
    return replace(reading, promises=tuple(kept)) if kept else reading
