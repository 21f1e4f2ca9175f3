"""Which engine, and why. Never the CPU in silence: an engine that cannot use the chosen GPU is refused, and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from launchdeck.domain.errors import Cause, Failure, Fix, LaunchdeckError
from launchdeck.domain.gpu import Gpu, GpuType
from launchdeck.domain.model import ModelFormat, ModelInfo
from launchdeck.domain.plan import Backend, EngineInfo, EngineKind
from launchdeck.domain.request import BackendChoice, ModelLoadRequest
from launchdeck.domain.text import Message
from launchdeck.engines.devices.devices import Machine, can_use, lists_vendor_of
from launchdeck.engines.devices.masking import VULKAN_MASK
from launchdeck.engines.fixes import RUN_ON_CPU
from launchdeck.engines.rules import Advice, advise

# What a plan is made for where the engine itself is not there: it can do all that llama-server can.
ANY_LLAMA_SERVER = EngineInfo(
    kind=EngineKind.LLAMA_SERVER,
    command=("llama-server",),
    path=None,
    version=None,
    gpu_types=frozenset({GpuType.NVIDIA, GpuType.AMD}),
    supports_rpc=True,
)
ANY_VLLM = EngineInfo(
    kind=EngineKind.VLLM,
    command=("vllm",),
    path=None,
    version=None,
    gpu_types=frozenset({GpuType.NVIDIA, GpuType.AMD, GpuType.CPU}),
)
_ANY = {Backend.LLAMA: ANY_LLAMA_SERVER, Backend.VLLM: ANY_VLLM}
_BACKENDS = {ModelFormat.GGUF: Backend.LLAMA, ModelFormat.SAFETENSORS: Backend.VLLM}
_HOW_TO_GET = {
    GpuType.NVIDIA: Message(
        "Get a llama-server built for CUDA in the engines view, name one in the settings, or choose the CPU."
    ),
    GpuType.AMD: Message(
        "Get a llama-server built for ROCm or Vulkan in the engines view, name one in the settings, or choose the CPU."
    ),
}
_VLLM_FOR_GPU = Message(
    "Install a vLLM built for this GPU in the engines view, name one in the settings, or get the model as a GGUF file."
)
_HOW_TO_INSTALL = {
    Backend.LLAMA: Message("Install llama-server in the engines view, or name one in the settings."),
    Backend.VLLM: Message(
        "Install vLLM in the engines view, name one in the settings, or get the model as a GGUF file."
    ),
}


@dataclass(frozen=True, slots=True)
class Choice:
    """`reasons` are clauses that go on after "because"; `other` are the engines that could do it as well.

    `blocker` says why a plan for this engine can be shown and not be started. `for_others` are clauses that speak for
    the other family of engines. `warnings` are to be told with the plan.
    """

    engine: EngineInfo
    reasons: tuple[Message, ...]
    other: tuple[EngineInfo, ...] = ()
    blocker: Failure | None = None
    for_others: tuple[Message, ...] = ()
    warnings: tuple[Message, ...] = ()


def choose(
    request: ModelLoadRequest,
    model: ModelInfo,
    gpus: Sequence[Gpu],
    engines: Sequence[EngineInfo],
    machine: Machine | None = None,
) -> Choice:
    """The engine for this model on these GPUs (none: the CPU). `engines` come in the order of preference; `machine`
    has all GPUs (None: these are all).

    Raises:
        LaunchdeckError: no engine can do it, or not the one that was asked for.
    """
    backend = _backend(request, model)
    machine = machine or Machine.of_gpus(gpus)
    if request.engine_id is not None:
        return _chosen_by_id(request, gpus, engines, backend, machine)
    able = [
        engine
        for engine in engines
        if engine.kind.backend is backend and suits(engine, request, gpus, machine) and _serves(engine, model, gpus)
    ]
    if able:
        return _choice(request, model, gpus, able[0], tuple(able[1:]))
    failure = _why_none(request, gpus, engines, backend, machine)
    advice = advise(model, gpus, request.server_type, _architectures(engines))
    if advice.backend is not backend and (gpus or _is_unknown(model, engines)):
        failure = _other_format(model, advice)
    if request.backend is not BackendChoice.AUTO:
        return replace(_choice(request, model, gpus, _ANY[backend]), blocker=failure)
    raise LaunchdeckError(failure)


def suits(engine: EngineInfo, request: ModelLoadRequest, gpus: Sequence[Gpu], machine: Machine) -> bool:
    """Whether this engine can use all these GPUs (none: the CPU), and RPC workers if any are wanted."""
    if not gpus and engine.kind.backend is Backend.VLLM and GpuType.CPU not in engine.gpu_types:
        return False
    return _knows_workers(engine, request) and can_use(engine, gpus, machine)


def is_recommended(engine: EngineInfo, model: ModelInfo, gpu: Gpu) -> bool:
    """Whether the rules have this kind of engine serve this model on this GPU."""
    return advise(model, (gpu,), architectures=engine.architectures).backend is engine.kind.backend


def candidates(
    request: ModelLoadRequest, model: ModelInfo, engines: Sequence[EngineInfo], *, is_recorded: bool
) -> list[EngineInfo]:
    """The engines that could be meant, before it is known on which GPUs."""
    backend = _BACKENDS[model.format]
    if is_recorded:
        return [_ANY[backend]]
    if request.engine_id is not None:
        return [engine for engine in engines if engine.id == request.engine_id]
    return [engine for engine in engines if engine.kind.backend is backend] or [_ANY[backend]]


def for_recorded_machine(
    request: ModelLoadRequest, model: ModelInfo, gpus: Sequence[Gpu], engines: Sequence[EngineInfo]
) -> Choice:
    """This machine's engines say nothing about the machine whose inventory was recorded, the rules do; only that an
    engine asked for by name is missing here has to be said.

    Raises:
        LaunchdeckError: the rules are against the only engine that reads this format, and nobody named it.
    """
    backend = _backend(request, model)
    advice = advise(model, gpus, request.server_type)
    machine = Machine.of_gpus(gpus)
    is_here = any(engine.kind.backend is backend and suits(engine, request, gpus, machine) for engine in engines)
    is_missing = request.backend is not BackendChoice.AUTO and not is_here
    blocker = Failure(
        Cause.ENGINE_UNSUITED,
        Message("This is a recorded machine: nothing can be started on it."),
        Message("Start Launchdeck without --inventory."),
    )
    if gpus and advice.backend is not backend:
        blocker = _other_format(model, advice)
        if request.backend is BackendChoice.AUTO:
            raise LaunchdeckError(blocker)
    warnings = (_why_none(request, gpus, engines, backend, machine).message,) if is_missing else ()
    return replace(_choice(request, model, gpus, _ANY[backend]), blocker=blocker, warnings=warnings)


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
    request: ModelLoadRequest, gpus: Sequence[Gpu], engines: Sequence[EngineInfo], backend: Backend, machine: Machine
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
    if engine.kind.backend is not backend or not suits(engine, request, gpus, machine):
        raise LaunchdeckError(_why_none(request, gpus, (engine,), backend, machine))
    return Choice(engine, (Message("you chose it"),), tuple(other for other in engines if other is not engine))


def _choice(
    request: ModelLoadRequest,
    model: ModelInfo,
    gpus: Sequence[Gpu],
    engine: EngineInfo,
    other: tuple[EngineInfo, ...] = (),
) -> Choice:
    """This engine, with the reasons for its family; where the rules prefer the other one, that speaks for it."""
    advice = advise(model, gpus, request.server_type, engine.architectures)
    if advice.backend is engine.kind.backend:
        reasons, for_others = [advice.reason], advice.against
    else:
        reasons, for_others = [*advice.against], (advice.reason,)
    if request.backend is not BackendChoice.AUTO:
        reasons = [Message("you chose {backend}", backend=str(request.backend))]
    if engine.kind is EngineKind.EMBEDDED and engine.path is None:
        reasons.append(Message("no other engine for it was found"))
    return Choice(engine, tuple(reasons), other, for_others=for_others)


def _serves(engine: EngineInfo, model: ModelInfo, gpus: Sequence[Gpu]) -> bool:
    """Whether nothing but preference speaks against a vLLM: without a GPU, its build for the CPU does it, slower."""
    if engine.kind.backend is not Backend.VLLM:
        return True
    if engine.architectures and model.architecture not in engine.architectures:
        return False
    return not gpus or advise(model, gpus, architectures=engine.architectures).backend is Backend.VLLM


def _architectures(engines: Sequence[EngineInfo]) -> frozenset[str]:
    """What the vLLMs know together; nothing where one of them has not told."""
    known = [engine.architectures for engine in engines if engine.kind is EngineKind.VLLM]
    return frozenset().union(*known) if all(known) else frozenset()


def _is_unknown(model: ModelInfo, engines: Sequence[EngineInfo]) -> bool:
    known = _architectures(engines)
    return bool(known) and model.architecture not in known


def _other_format(model: ModelInfo, advice: Advice) -> Failure:
    """The failure where the rules would have another format of this model."""
    return Failure(
        Cause.ENGINE_UNSUITED,
        Message("vLLM cannot serve {name} here: {reason}.", name=model.name, reason=advice.reason),
        Message("Get the model as a GGUF file: llama-server serves it here."),
    )


def _why_none(
    request: ModelLoadRequest, gpus: Sequence[Gpu], engines: Sequence[EngineInfo], backend: Backend, machine: Machine
) -> Failure:
    """The failure where none of these engines can do it."""
    fitting = [engine for engine in engines if engine.kind.backend is backend]
    if not fitting:
        return Failure(
            Cause.ENGINE_MISSING,
            Message("No engine for this model was found ({backend}).", backend=str(backend)),
            _HOW_TO_INSTALL[backend],
        )
    if not any(_knows_workers(engine, request) for engine in fitting):
        return Failure(
            Cause.ENGINE_UNSUITED,
            Message("No engine found here can use RPC workers ({names}).", names=_names(fitting)),
            Message("Name a llama-server built with RPC in the settings, or choose other devices."),
            fixes=(RUN_ON_CPU,),
        )
    if not gpus:
        return Failure(
            Cause.ENGINE_UNSUITED,
            Message("No vLLM found here is built for the CPU."),
            Message("Get the model as a GGUF file: llama-server serves it here."),
        )
    unusable = next((gpu for gpu in gpus if not any(can_use(engine, (gpu,), machine) for engine in fitting)), None)
    if unusable is None:  # each GPU has an engine, but none has all
        return Failure(
            Cause.ENGINE_UNSUITED,
            Message("No engine can use all of {gpus} together.", gpus=", ".join(gpu.name for gpu in gpus)),
            Message("Choose GPUs of one vendor."),
        )
    advice = _VLLM_FOR_GPU if backend is Backend.VLLM else _HOW_TO_GET.get(unusable.gpu_type)
    unclear = next((engine for engine in fitting if lists_vendor_of(engine, unusable)), None)
    if any(_is_hidden(engine, unusable, machine) for engine in fitting):
        advice = Message(
            "{mask} hides GPUs from engines built for Vulkan: choose another GPU, or start Launchdeck without it.",
            mask=VULKAN_MASK,
        )
    elif unclear is not None:
        return Failure(
            Cause.ENGINE_UNSUITED,
            Message(
                "{engine} lists {devices}: which of them GPU {index} ({gpu}) is cannot be told.",
                engine=str(unclear.kind),
                devices=", ".join(device.name for device in lists_vendor_of(unclear, unusable)),
                index=unusable.index,
                gpu=unusable.name,
            ),
            Message("Choose another GPU, another engine, or the CPU."),
            fixes=(RUN_ON_CPU,),
        )
    return Failure(
        Cause.ENGINE_UNSUITED,
        Message("No engine found here can use {gpu} ({names}).", gpu=unusable.name, names=_names(fitting)),
        advice,
        fixes=(RUN_ON_CPU,),
    )


def _is_hidden(engine: EngineInfo, gpu: Gpu, machine: Machine) -> bool:
    """Whether a mask alone keeps this engine from this GPU."""
    return bool(engine.hidden_devices) and can_use(replace(engine, hidden_devices=frozenset()), (gpu,), machine)


def _knows_workers(engine: EngineInfo, request: ModelLoadRequest) -> bool:
    return engine.supports_rpc or not request.rpc_workers


def _names(engines: Sequence[EngineInfo]) -> str:
    return ", ".join(str(engine.kind) for engine in engines)
