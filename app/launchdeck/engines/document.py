"""A plan for programs (`plan --json`) and for a terminal."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from launchdeck.domain.plan import DeviceEstimate, Estimate, LaunchPlan

if TYPE_CHECKING:
    from launchdeck.engines.engine import Engine


def plan_document(plan: LaunchPlan) -> dict[str, Any]:
    """The document that `launchdeck plan --json` prints. Keys are masked already: a plan never holds one."""
    return {
        "backend": _engine(plan).backend,
        "reasons": [str(reason) for reason in plan.reasons],
        "argv": list(plan.argv),
        "env": dict(plan.env),
        "estimate": estimate_document(plan.estimate),
        "layers": {
            "asked": plan.layers.asked,
            "resolved": plan.layers.resolved,
            "total": plan.layers.total,
            "largest_that_fits": plan.layers.largest_that_fits,
        },
        "warnings": [str(warning) for warning in (plan.blocker, *plan.warnings) if warning is not None],
    }


def estimate_document(estimate: Estimate) -> dict[str, Any]:
    """What each chosen device will take, and the host."""
    return {"devices": [_device(device) for device in estimate.devices], "host": _device(estimate.host)}


def command_line(plan: LaunchPlan) -> str:
    """The command for a terminal, without what serves only us."""
    ours = _engine(plan).own_env
    env = [f"{name}={shlex.quote(value)}" for name, value in plan.env if (name, value) not in ours]
    return " ".join((*env, shlex.join(plan.argv)))


def _engine(plan: LaunchPlan) -> Engine:
    from launchdeck.engines.registry import engine_of  # noqa: PLC0415 (the window's first frame needs no engine)

    return engine_of(plan.engine.kind)


def _device(device: DeviceEstimate) -> dict[str, Any]:
    return {
        "device": device.device,
        "weights_bytes": device.weights_bytes,
        "kv_bytes": device.kv_bytes,
        "compute_bytes": device.compute_bytes,
        "overhead_bytes": device.overhead_bytes,
        "total_bytes": device.total_bytes,
        "free_bytes": device.free_bytes,
        "promised_bytes": device.promised_bytes,
        "promised_to": list(dict.fromkeys(promise.model_id for promise in device.promises)),
        "fits": device.fits,
    }
