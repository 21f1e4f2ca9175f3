"""A deployment in words and numbers, as the table, the details and the tray show it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from launchdeck.domain.deployment import State
from launchdeck.domain.plan import EngineKind
from launchdeck.domain.request import ALL_LAYERS
from launchdeck.ui.i18n import tr

if TYPE_CHECKING:
    from launchdeck.domain.deployment import Deployment
    from launchdeck.domain.plan import LaunchPlan


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
    """The state in one word, except for a failure: that says why, or when it is tried again; and for a model that
    waits for its turn.
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
    if deployment.lost_gpus and deployment.state.is_live:
        return tr("GPU {indices} lost", indices=", ".join(map(str, deployment.lost_gpus)))
    return state_word(deployment.state)


def engine_word(kind: EngineKind) -> str:
    words = {
        EngineKind.EMBEDDED: tr("built-in"),
        EngineKind.LLAMA_SERVER: "llama-server",
        EngineKind.VLLM: "vLLM",
    }
    return words[kind]


def devices_text(plan: LaunchPlan) -> str:
    """Where the model runs, in short: "0", "0+1", "0–3", "0+RPC", "CPU"."""
    request = plan.request
    workers = ["RPC"] if request.rpc_workers else []
    return "+".join([*_runs(request.gpu_indices or ()), *workers]) or "CPU"


def devices_in_full(plan: LaunchPlan) -> str:
    """Each device on a line of its own."""
    devices = [device_label(plan, place) for place in range(len(plan.estimate.devices))]
    return "\n".join(devices) or "CPU"


def _runs(indices: tuple[int, ...]) -> list[str]:
    """Indices as they were given; three and more that follow one another as a range."""
    runs: list[list[int]] = []
    for index in indices:
        if runs and index == runs[-1][-1] + 1:
            runs[-1].append(index)
        else:
            runs.append([index])
    return ["+".join(map(str, run)) if len(run) < 3 else f"{run[0]}–{run[-1]}" for run in runs]


def slots_told(plan: LaunchPlan) -> int:
    """How many slots the engine was told to have: fewer than were asked for, where it divides the context by them."""
    told = dict(zip(plan.argv, plan.argv[1:], strict=False)).get("--parallel", "")
    return int(told) if told.isdecimal() else plan.request.n_parallel


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
    """The device at this place of the plan's estimate: "GPU 1", or the name of an RPC worker."""
    gpus = plan.request.gpu_indices or ()
    return f"GPU {gpus[place]}" if place < len(gpus) else plan.estimate.devices[place].device


def layers_asked(asked: int | None) -> str:
    """The number in a request: "auto", "all", "27"."""
    if asked is None:
        return tr("auto")
    return tr("all") if asked == ALL_LAYERS else str(asked)
