"""Engines call GPUs by names of their own; what a person reads says which GPU that is."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from launchdeck.domain.text import Message

if TYPE_CHECKING:
    from launchdeck.domain.errors import Failure
    from launchdeck.domain.plan import LaunchPlan

_PLACE = "device"  # in the sentences of failures


def with_gpus_named(plan: LaunchPlan, failure: Failure) -> Failure:
    """Give the failure of this launch with "GPU 1 (RTX 4090)" in its sentences where the log has "CUDA0".

    A worker's device keeps its name, and the evidence is the log's own.
    """
    names = {name: device_name(plan, place) for place, name in enumerate(plan.device_names[: len(plan.gpus)])}
    return replace(
        failure, message=_renamed(failure.message, names), advice=failure.advice and _renamed(failure.advice, names)
    )


def device_name(plan: LaunchPlan, place: int) -> str:
    """Name the device at this place of a plan: a GPU by the number and the name that it had when it was planned."""
    if place >= len(plan.gpus):
        return plan.estimate.devices[place].device
    gpu = plan.gpus[place]
    return f"GPU {gpu.index} ({gpu.name or gpu.uuid})"


def _renamed(message: Message, names: dict[str, str]) -> Message:
    values = dict(message.values)
    name = names.get(str(values.get(_PLACE)))
    return message if name is None else Message(message.template, **{**values, _PLACE: name})
