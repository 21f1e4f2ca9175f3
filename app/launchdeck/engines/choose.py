"""Which engine, and why. Never the CPU in silence: an engine that cannot use the chosen GPU is refused, and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from launchdeck.domain.errors import Cause, Failure, Fix, LaunchdeckError
from launchdeck.domain.gpu import Gpu, GpuType
from launchdeck.domain.model import ModelFormat, ModelInfo
from launchdeck.domain.plan import Backend, EngineInfo, EngineKind
from launchdeck.domain.request import BackendChoice, ModelLoadRequest
from launchdeck.domain.text import Message
from launchdeck.engines.devices import can_use
from launchdeck.engines.fixes import RUN_ON_CPU

# What a plan is made for where the engine itself is not there: it can do all that llama-server can.
ANY_LLAMA_SERVER = EngineInfo(
    kind=EngineKind.LLAMA_SERVER,
    command=("llama-server",),
    path=None,
    version=None,
    gpu_types=frozenset({GpuType.NVIDIA, GpuType.AMD}),
    supports_rpc=True,
)
_BACKENDS = {ModelFormat.GGUF: Backend.LLAMA, ModelFormat.SAFETENSORS: Backend.VLLM}
_FORMAT_REASONS = {
    ModelFormat.GGUF: Message("the file is GGUF"),
    ModelFormat.SAFETENSORS: Message("the model is safetensors"),
}
_HOW_TO_GET = {
    GpuType.NVIDIA: Message("Name a llama-server built for NVIDIA (CUDA) in the settings, or choose the CPU."),
    GpuType.AMD: Message("Name a llama-server built for AMD (ROCm or Vulkan) in the settings, or choose the CPU."),
}


@dataclass(frozen=True, slots=True)
class Choice:
    """`reasons` are clauses that go on after "because"; `other` are the engines that could do it as well.

    `blocker` says why a plan for this engine can be shown and not be started.
    """

    engine: EngineInfo
    reasons: tuple[Message, ...]
    other: tuple[EngineInfo, ...] = ()
    blocker: Failure | None = None


def choose(request: ModelLoadRequest, model: ModelInfo, gpus: Sequence[Gpu], engines: Sequence[EngineInfo]) -> Choice:
    """The engine for this model on these GPUs (none: the CPU). `engines` come in the order of preference.

    Raises:
        LaunchdeckError: no engine can do it, or not the one that was asked for.
    """
    backend = _backend(request, model)
    if request.engine_id is not None:
        return _chosen_by_id(request, gpus, engines, backend)
    able = [engine for engine in engines if engine.kind.backend is backend and suits(engine, request, gpus)]
    if able:
        return Choice(able[0], _reasons(request, model, able[0]), tuple(able[1:]))
    failure = _why_none(request, gpus, engines, backend)
    if request.backend is BackendChoice.LLAMA:
        return Choice(ANY_LLAMA_SERVER, _reasons(request, model, ANY_LLAMA_SERVER), blocker=failure)
    raise LaunchdeckError(failure)


def suits(engine: EngineInfo, request: ModelLoadRequest, gpus: Sequence[Gpu]) -> bool:
    """Whether this engine can use all these GPUs, and RPC workers if any are wanted."""
    return _knows_workers(engine, request) and all(can_use(engine, gpu) for gpu in gpus)


def for_recorded_machine(request: ModelLoadRequest, model: ModelInfo) -> Choice:
    """This machine's engines say nothing about the machine whose inventory was recorded."""
    _backend(request, model)
    return Choice(
        ANY_LLAMA_SERVER,
        _reasons(request, model, ANY_LLAMA_SERVER),
        blocker=Failure(
            Cause.ENGINE_UNSUITED,
            Message("This is a recorded machine: nothing can be started on it."),
            Message("Start Launchdeck without --inventory."),
        ),
    )


def _backend(request: ModelLoadRequest, model: ModelInfo) -> Backend:
    natural = _BACKENDS[model.format]
    if request.backend in {BackendChoice.AUTO, BackendChoice(str(natural))}:
        return natural
    raise LaunchdeckError(
        Failure(
            Cause.ENGINE_UNSUITED,
            Message("{backend} cannot serve {format} models.", backend=str(request.backend), format=str(model.format)),
            Message("Leave the choice of the engine to Launchdeck."),
            fixes=(Fix(Message("Choose the engine automatically"), (("backend", BackendChoice.AUTO),)),),
        )
    )


def _chosen_by_id(
    request: ModelLoadRequest, gpus: Sequence[Gpu], engines: Sequence[EngineInfo], backend: Backend
) -> Choice:
    engine = next((engine for engine in engines if engine.id == request.engine_id), None)
    if engine is None:
        raise LaunchdeckError(
            Failure(
                Cause.ENGINE_MISSING,
                Message("There is no engine {id} on this machine.", id=request.engine_id),
                Message("There are: {ids}.", ids=", ".join(engine.id for engine in engines) or "-"),
                fixes=(Fix(Message("Choose the engine automatically"), (("engine_id", None),)),),
            )
        )
    if engine.kind.backend is not backend or not suits(engine, request, gpus):
        raise LaunchdeckError(_why_none(request, gpus, (engine,), backend))
    return Choice(engine, (Message("you chose it"),), tuple(other for other in engines if other is not engine))


def _reasons(request: ModelLoadRequest, model: ModelInfo, engine: EngineInfo) -> tuple[Message, ...]:
    first = _FORMAT_REASONS[model.format]
    if request.backend is not BackendChoice.AUTO:
        first = Message("you chose {backend}", backend=str(request.backend))
    if engine.kind is EngineKind.EMBEDDED:
        return (first, Message("no other engine for it was found"))
    return (first,)


def _why_none(
    request: ModelLoadRequest, gpus: Sequence[Gpu], engines: Sequence[EngineInfo], backend: Backend
) -> Failure:
    """The failure where none of these engines can do it."""
    fitting = [engine for engine in engines if engine.kind.backend is backend]
    if not fitting:
        return Failure(
            Cause.ENGINE_MISSING,
            Message("No engine for this model was found ({backend}).", backend=str(backend)),
            Message("Install one, or name it in the settings."),
        )
    if not any(_knows_workers(engine, request) for engine in fitting):
        return Failure(
            Cause.ENGINE_UNSUITED,
            Message("No engine found here can use RPC workers ({names}).", names=_names(fitting)),
            Message("Name a llama-server built with RPC in the settings, or choose other devices."),
            fixes=(RUN_ON_CPU,),
        )
    unusable = next((gpu for gpu in gpus if not any(can_use(engine, gpu) for engine in fitting)), None)
    if unusable is None:  # each GPU has an engine, but none has all
        return Failure(
            Cause.ENGINE_UNSUITED,
            Message("No engine can use all of {gpus} together.", gpus=", ".join(gpu.name for gpu in gpus)),
            Message("Choose GPUs of one vendor."),
        )
    return Failure(
        Cause.ENGINE_UNSUITED,
        Message("No engine found here can use {gpu} ({names}).", gpu=unusable.name, names=_names(fitting)),
        _HOW_TO_GET.get(unusable.gpu_type),
        fixes=(RUN_ON_CPU,),
    )


def _knows_workers(engine: EngineInfo, request: ModelLoadRequest) -> bool:
    return engine.supports_rpc or not request.rpc_workers


def _names(engines: Sequence[EngineInfo]) -> str:
    return ", ".join(str(engine.kind) for engine in engines)
