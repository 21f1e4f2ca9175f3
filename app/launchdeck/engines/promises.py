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
from launchdeck.engines.residuals import held_on

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from launchdeck.domain.plan import DeviceEstimate, Estimate

# No two readings lie further apart: one that comes so late after a start has another before it.
_LONGEST_INTERVAL_S = 60.0


@dataclass(frozen=True, slots=True)
class Promises:
    """What is promised of each GPU (by its uuid) and of RAM, which integrated GPUs share: theirs are in `ram`."""

    gpus: Mapping[str, tuple[Promise, ...]]
    ram: tuple[Promise, ...]

    def of(self, reading: GpuReading) -> tuple[Promise, ...]:
        """All that the free memory of this device has to do for."""
        return self.ram if reading.gpu.integrated else self.gpus.get(reading.gpu.uuid, ())


def promises(
    deployments: Iterable[Deployment], inventory: Inventory, *, before_s: float | None, shared: Path | None = None
) -> Promises:
    """What these deployments have been promised and do not hold in this reading.

    `before_s` is when the reading before it was taken, None if there was none. `shared` is the file of a launch that is
    to be planned: what others have mapped of it takes no RAM a second time.
    """
    readings = {reading.gpu.uuid: reading for reading in inventory.gpus}
    gpus: dict[str, tuple[Promise, ...]] = {}
    ram = []
    for deployment in deployments:
        if not deployment.state.is_live or deployment.state is State.STOPPING:
            continue  # whoever is being stopped takes no more
        name = deployment.plan.model_id
        in_ram_bytes = _in_ram_bytes(deployment, inventory.cpu, deployment.plan.request.model_path == shared)
        for uuid, device in _devices(deployment):
            reading = readings.get(uuid)
            size_bytes = 0 if reading is None else _on_gpu_bytes(deployment, device, reading, before_s)
            if reading is not None and reading.gpu.integrated:
                in_ram_bytes += size_bytes
            elif size_bytes:
                gpus[uuid] = (*gpus.get(uuid, ()), Promise(name, size_bytes))
        if in_ram_bytes:
            ram.append(Promise(name, in_ram_bytes))
    return Promises(gpus, tuple(ram))


def with_promises(inventory: Inventory, promised: Promises) -> Inventory:
    """The inventory with every promise at its device; the same one if there are none."""
    if not promised.gpus and not promised.ram:
        return inventory
    return replace(
        inventory,
        gpus=tuple(_promised(reading, promised.of(reading)) for reading in inventory.gpus),
        cpu=_promised(inventory.cpu, promised.ram),
    )


def naming_promises(estimate: Estimate, readings: Sequence[GpuReading], cpu: GpuReading) -> Estimate:
    """The estimate with what is promised of each device, whose free memory is told without it already."""
    if not any(reading.promises for reading in (*readings, cpu)):
        return estimate
    chosen = len(readings)
    pairs = zip(estimate.devices[:chosen], readings, strict=True)
    devices = (replace(device, promises=reading.promises) for device, reading in pairs)
    host = replace(estimate.host, promises=cpu.promises)
    return replace(estimate, devices=(*devices, *estimate.devices[chosen:]), host=host)


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


def _in_ram_bytes(deployment: Deployment, cpu: GpuReading, shares_weights: bool) -> int:  # noqa: FBT001
    """What the model needs of RAM, less what the kernel counts as taken.

    That is memory of the processes' own alone. The weights are pages of a file, mapped; the kernel could take them back
    and counts them as available, however many are resident, while the model needs all of them for every token. So they
    stay promised as long as the model lives, except to whoever maps the same file. Where they are copied instead
    (`--no-mmap`, vLLM) they are the processes' own, and the promise ends. The prompt cache fills later, and is promised
    until it has.
    """
    host = deployment.plan.estimate.host
    weights_bytes = 0 if shares_weights else host.weights_bytes
    rest_bytes = host.kv_bytes + host.compute_bytes
    needed_bytes = weights_bytes + rest_bytes + host.overhead_bytes
    left_bytes = max(needed_bytes - (deployment.own_ram_bytes or 0), 0)
    ready_at_s = deployment.ready_at_s
    if ready_at_s is None or cpu.sample.sampled_at_s <= ready_at_s:
        return left_bytes
    # A driver's pinned buffers are taken from RAM and belong to no process: what runs has them.
    return min(left_bytes, weights_bytes + host.overhead_bytes)


def _promised(reading: GpuReading, promised: Collection[Promise]) -> GpuReading:
    """No more is promised of a device than is free on it: who came first has what there is."""
    left_bytes = free_bytes(replace(reading, promises=()))
    kept = []
    for promise in promised:
        size_bytes = promise.size_bytes if left_bytes is None else min(promise.size_bytes, left_bytes)
        left_bytes = None if left_bytes is None else left_bytes - size_bytes
        if size_bytes:
            kept.append(replace(promise, size_bytes=size_bytes))
    return replace(reading, promises=tuple(kept)) if kept else reading
