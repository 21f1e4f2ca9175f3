"""A deployment in words and numbers, as the table, the details and the tray show it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from launchdeck.domain.deployment import State
from launchdeck.domain.request import ALL_LAYERS
from launchdeck.ui.kit.i18n import tr
from launchdeck.ui.kit.names import short_name

if TYPE_CHECKING:
    from launchdeck.domain.deployment import Deployment
    from launchdeck.domain.plan import EngineKind, LaunchPlan


def state_word(state: State) -> str:
    words = {
        State.QUEUED: tr("queued"),
        State.STARTING: tr("starting"),
        State.LOADING: tr("loading"),
        State.RUNNING: tr("running"),
        State.UNRESPONSIVE: tr("not responding"),
        State.STOPPING: tr("stopping"),
        State.STOPPED: tr("stopped"),
        State.FAILED: tr("failed"),
    }
    return words[state]


def state_sentence(deployment: Deployment) -> str:
    """The state in one word, except for a failure: that says why, or when it is tried again; for a model that waits for
    its turn; and for one that could not be stopped as usual.
    """
    if deployment.restart is not None:
        restart = deployment.restart
        return tr(
            "restarts in {seconds} s ({number} of {most})",
            seconds=restart.in_s,
            number=restart.number,
            most=restart.most,
        )
    if deployment.queued_because is not None:
        return tr(deployment.queued_because)
    if deployment.state is State.FAILED and deployment.failure:
        return tr(deployment.failure.message)
    if deployment.state is State.STOPPED and deployment.ended_how is not None:
        return tr(deployment.ended_how)
    if deployment.lost_gpus and deployment.state.is_live:
        return _lost_text(deployment)
    return state_word(deployment.state)


def engine_word(kind: EngineKind) -> str:
    from launchdeck.engines.registry import engine_of  # noqa: PLC0415 (nothing has an engine before the first paint)

    return tr(engine_of(kind).words.names[kind])


def layers_hint(kind: EngineKind) -> str:
    """What there is to know of the number of layers with this engine; often nothing."""
    from launchdeck.engines.registry import engine_of  # noqa: PLC0415 (as above)

    hint = engine_of(kind).words.layers_hint
    return "" if hint is None else tr(hint)


def devices_text(deployment: Deployment) -> str:
    """Where the model runs now, in short: "0", "0+1", "0–3", "0+RPC", "CPU"; "?" for a GPU without a place."""
    workers = ["RPC"] if deployment.plan.request.rpc_workers else []
    return "+".join([*_runs([deployment.place_of(gpu) for gpu in deployment.plan.gpus]), *workers]) or "CPU"


def devices_in_full(deployment: Deployment) -> str:
    """Each device on a line of its own."""
    devices = [deployment_device(deployment, place) for place in range(len(deployment.plan.estimate.devices))]
    return "\n".join(devices) or "CPU"


def _lost_text(deployment: Deployment) -> str:
    """What one that has left the list was called says which it is; its place says it of the others."""
    places = deployment.lost_places
    if places is None:
        return tr("{names} lost", names=", ".join(gpu.name or gpu.uuid for gpu in deployment.lost))
    return tr("GPU {indices} lost", indices=", ".join(map(str, places)))


def _runs(indices: list[int | None]) -> list[str]:
    """Indices as they were given; three and more that follow one another as a range."""
    runs: list[list[int]] = []
    for index in indices:
        if index is None:
            return ["?" if index is None else str(index) for index in indices]
        if runs and index == runs[-1][-1] + 1:
            runs[-1].append(index)
        else:
            runs.append([index])
    return ["+".join(map(str, run)) if len(run) < 3 else f"{run[0]}–{run[-1]}" for run in runs]


def applied_layers(deployment: Deployment) -> int | None:
    """How many layers the engine really placed on GPUs, None before it said so.

    A build without any GPU claims all that was asked for; it has no buffer outside the CPU, and that gives it away.
    """
    applied = deployment.applied
    if applied.layers_offloaded is None:
        return None
    if applied.buffers and all(is_host_device(buffer.device) for buffer in applied.buffers):
        return 0
    return applied.layers_offloaded


def is_host_device(name: str) -> bool:
    """Whether the engine means RAM by this name: "CPU", "CPU_Mapped", "CUDA_Host", ..."""
    return name.startswith("CPU") or name.endswith("_Host")


def layers_text(deployment: Deployment) -> str:
    """Layers on GPUs of all there are: as applied once the engine has told, as planned before."""
    applied = applied_layers(deployment)
    layers = deployment.plan.layers
    return f"{layers.resolved if applied is None else applied}/{layers.total}"


def layers_differ(deployment: Deployment) -> bool:
    """Whether the engine applied another number of layers than the command asked for."""
    applied = applied_layers(deployment)
    return applied is not None and applied != deployment.plan.layers.resolved


def predicted_bytes(plan: LaunchPlan) -> int:
    """What the plan says all its GPUs together will hold."""
    return sum(device.total_bytes for device in plan.estimate.devices)


def device_label(plan: LaunchPlan, place: int) -> str:
    """The device at this place of the estimate of a plan of now: "GPU 1", or the name of an RPC worker."""
    return f"GPU {plan.gpus[place].index}" if place < len(plan.gpus) else plan.estimate.devices[place].device


def deployment_device(deployment: Deployment, place: int) -> str:
    """The same of a plan made before: the GPU's place of now, or what it is called where it is not in the list."""
    plan = deployment.plan
    if place >= len(plan.gpus):
        return plan.estimate.devices[place].device
    gpu = plan.gpus[place]
    if not gpu.is_identified:
        return tr("GPU {index} of its start", index=gpu.index)
    now = deployment.place_of(gpu)
    return tr("{name}, not there", name=short_name(gpu) or gpu.uuid) if now is None else f"GPU {now}"


def layers_asked(asked: int | None) -> str:
    """The number in a request: "auto", "all", "27"."""
    if asked is None:
        return tr("auto")
    return tr("all") if asked == ALL_LAYERS else str(asked)
