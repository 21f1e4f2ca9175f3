"""Why a launch that does not fit is not started where nobody has seen its estimate: over HTTP, at the start."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from launchdeck.domain.errors import Cause, Failure
from launchdeck.domain.plan import DeviceEstimate, LaunchPlan, Verdict
from launchdeck.domain.text import Message
from launchdeck.engines.naming import device_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from launchdeck.domain.gpu import GpuProcess, Inventory

_GIB = 1 << 30
_NOBODY: Mapping[int, str] = MappingProxyType({})


def refusal(
    plan: LaunchPlan, inventory: Inventory | None = None, models: Mapping[int, str] = _NOBODY
) -> Failure | None:
    """None unless the plan does not fit. Named is what most of the missing memory is promised to, or who holds it by
    this reading; `models` are the names of our own processes.
    """
    if plan.verdict is not Verdict.DOES_NOT_FIT:
        return None
    devices = plan.estimate.devices
    place = next((n for n, device in enumerate(devices) if device.verdict(0) is Verdict.DOES_NOT_FIT), None)
    if place is None:
        message = _sentence(plan, plan.estimate.host, Message("of RAM"), None, models)
    else:
        where = Message("on {device}", device=device_name(plan, place))
        message = _sentence(plan, devices[place], where, _largest_holder(plan, place, inventory), models)
    return Failure(
        Cause.OUT_OF_MEMORY,
        message,
        Message('Stop something else, or deploy it anyway: with --force, or "force": true over HTTP.'),
    )


def _sentence(
    plan: LaunchPlan, device: DeviceEstimate, where: Message, holder: GpuProcess | None, models: Mapping[int, str]
) -> Message:
    need, free, promised = _gib(device.total_bytes), _gib(device.free_bytes or 0), device.promised_bytes
    held = 0 if holder is None else holder.used_memory_bytes or 0
    if promised and promised >= held:
        return Message(
            "{model} needs {need} GiB {where}, {free} free: {size} promised to {names}.",
            model=plan.model_id,
            need=need,
            where=where,
            free=free,
            size=_gib(promised),
            names=", ".join(dict.fromkeys(promise.model_id for promise in device.promises)),
        )
    if holder is not None and held:
        return Message(
            "{model} needs {need} GiB {where}, {free} free: {size} held by {name} (pid {pid}).",
            model=plan.model_id,
            need=need,
            where=where,
            free=free,
            size=_gib(held),
            name=models.get(holder.pid) or holder.name or "?",
            pid=holder.pid,
        )
    return Message(
        "{model} needs {need} GiB {where}, {free} free.", model=plan.model_id, need=need, where=where, free=free
    )


def _largest_holder(plan: LaunchPlan, place: int, inventory: Inventory | None) -> GpuProcess | None:
    """The process that holds most on the GPU at this place of the plan; None for a worker, or where nobody tells."""
    if inventory is None or place >= len(plan.gpus):
        return None
    uuid = plan.gpus[place].uuid
    processes = (p for reading in inventory.gpus if reading.gpu.uuid == uuid for p in reading.sample.processes)
    return max(processes, key=lambda process: process.used_memory_bytes or 0, default=None)


def _gib(size_bytes: int) -> str:
    return f"{size_bytes / _GIB:.1f}"
