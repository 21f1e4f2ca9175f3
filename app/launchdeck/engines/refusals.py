"""Why a launch that does not fit is not started where nobody has seen its estimate: over HTTP, at the start."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from launchdeck.domain.errors import Cause, Failure
from launchdeck.domain.plan import DeviceEstimate, LaunchPlan, Verdict
from launchdeck.domain.text import Message
from launchdeck.domain.units import GIB
from launchdeck.engines.naming import device_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from launchdeck.domain.gpu import GpuProcess, Inventory

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
    known = {
        "model": plan.model_id,
        "need": _gib(device.total_bytes),
        "where": where,
        "free": _gib(device.free_bytes or 0),
    }
    held = 0 if holder is None else holder.used_memory_bytes or 0
    if device.promised_bytes and device.promised_bytes >= held:
        why = _promise(device)
    elif holder is not None and held:
        name = models.get(holder.pid) or holder.name or "?"
        why = Message("{size} held by {name} (pid {pid})", size=_gib(held), name=name, pid=holder.pid)
    else:
        return Message("{model} needs {need} GiB {where}, {free} free.", **known)
    return Message("{model} needs {need} GiB {where}, {free} free: {why}.", **known, why=why)


def _promise(device: DeviceEstimate) -> Message:
    names = ", ".join(dict.fromkeys(promise.model_id for promise in device.promises))
    prompts_bytes = sum(promise.prompts_bytes for promise in device.promises)
    if not prompts_bytes:
        return Message("{size} promised to {names}", size=_gib(device.promised_bytes), names=names)
    return Message(
        "{size} promised to {names}, up to {prompts} of it for prompts that are kept",
        size=_gib(device.promised_bytes),
        names=names,
        prompts=_gib(prompts_bytes),
    )


def _largest_holder(plan: LaunchPlan, place: int, inventory: Inventory | None) -> GpuProcess | None:
    """The process that holds most on the GPU at this place of the plan; None for a worker, or where nobody tells."""
    if inventory is None or place >= len(plan.gpus):
        return None
    reading = inventory.by_uuid.get(plan.gpus[place].uuid)
    processes = () if reading is None else reading.sample.processes
    return max(processes, key=lambda process: process.used_memory_bytes or 0, default=None)


def _gib(size_bytes: int) -> str:
    return f"{size_bytes / GIB:.1f}"
