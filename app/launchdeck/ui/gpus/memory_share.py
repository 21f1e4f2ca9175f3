"""Who holds a device's memory: our deployments, and all others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from launchdeck.domain.gpu import GpuType

if TYPE_CHECKING:
    from collections.abc import Sequence

    from launchdeck.domain.deployment import Deployment
    from launchdeck.domain.gpu import GpuProcess, GpuReading


def held_bytes(reading: GpuReading, deployment: Deployment) -> int:
    """What the deployment's processes hold on this device, 0 if nothing is known.

    The driver tells it for each process. Where it does not, what was measured in all is shared out over the
    deployment's GPUs as the estimate has it.
    """
    if reading.gpu.gpu_type is GpuType.CPU:
        return deployment.rss_bytes or 0
    told = [p.used_memory_bytes for p in reading.sample.processes if p.pid in deployment.pids]
    known = [used_bytes for used_bytes in told if used_bytes is not None]
    if known:
        return sum(known)
    return _estimated_share(reading.gpu.uuid, deployment)


def others_bytes(reading: GpuReading, deployments: Sequence[Deployment]) -> int:
    """What is used on this device by anything but our deployments."""
    used_bytes = reading.sample.used_memory_bytes or 0
    return max(0, used_bytes - sum(held_bytes(reading, deployment) for deployment in deployments))


def other_processes(reading: GpuReading, deployments: Sequence[Deployment]) -> list[GpuProcess]:
    """Those that hold memory of this device and belong to none of our deployments, the largest first."""
    ours = {pid for deployment in deployments for pid in deployment.pids}
    others = [process for process in reading.sample.processes if process.pid not in ours]
    return sorted(others, key=lambda process: process.used_memory_bytes or 0, reverse=True)


def _estimated_share(uuid: str, deployment: Deployment) -> int:
    uuids = [gpu.uuid for gpu in deployment.plan.gpus]
    if uuid not in uuids or not deployment.vram_bytes:
        return 0
    devices = deployment.plan.estimate.devices
    total_bytes = sum(device.total_bytes for device in devices)
    if not total_bytes:
        return deployment.vram_bytes // len(uuids)
    return deployment.vram_bytes * devices[uuids.index(uuid)].total_bytes // total_bytes
