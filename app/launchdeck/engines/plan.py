"""From a request to a launch: pure arithmetic on what is known of the model and of this machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

from launchdeck.domain.errors import Cause, LaunchdeckError
from launchdeck.domain.gpu import Gpu, GpuReading, PlannedGpu
from launchdeck.domain.model import ModelInfo, ServerType
from launchdeck.domain.plan import MASK, EngineInfo, Estimate, LaunchPlan, LayerPlan, Tier
from launchdeck.domain.request import FlashAttention, ModelLoadRequest
from launchdeck.domain.text import Message
from launchdeck.engines import flash_attention, prompt_cache
from launchdeck.engines.checks import check_cache, check_request, check_split
from launchdeck.engines.choose import Choice, candidates, choose, for_recorded_machine, is_recommended, suits
from launchdeck.engines.context import (
    HOST,
    Ceiling,
    PlanningContext,
    default_model_id,
    gpu_reasons,
    longest_request,
    resolve_context,
    resolve_layers,
)
from launchdeck.engines.devices import (
    EngineDevice,
    Machine,
    engine_devices,
    free_bytes,
    has_kernels_of_cuda,
    warnings_of_devices,
)
from launchdeck.engines.llama_argv import (
    CONTEXT_STEP,
    DEFAULT_BATCH,
    DEFAULT_UBATCH,
    KEY_VARIABLE,
    OPTION_VARIABLES,
    PROGRESS_ENV,
    UNIFIED_MEMORY,
    LlamaLaunch,
    divides_context,
    llama_argv,
)
from launchdeck.engines.promises import naming_promises
from launchdeck.engines.targets import target_gpus, warnings_without_gpus, with_gpus
from launchdeck.engines.vllm_plan import plan_vllm
from launchdeck.planning.estimate import Device, Load, MemoryModel, usual_context_bytes
from launchdeck.planning.fit import fewest_experts_in_ram, largest_layer_count
from launchdeck.planning.placement import Placement, place, unmasked
from launchdeck.planning.shared_ram import with_host
from launchdeck.planning.vllm_memory import VllmMemory
from launchdeck.settings.schema import MIB

GIB = 1024 * MIB


def plan_launch(request: ModelLoadRequest, context: PlanningContext, port: int) -> LaunchPlan:
    """The launch that this request means on this machine.

    Raises:
        LaunchdeckError: it cannot be carried out; the failure says why, what to do, and offers it where possible.
    """
    check_request(request, context.model)
    if context.memory is None:
        raise LaunchdeckError.of(
            Cause.MODEL_UNUSABLE, Message("The header of {name} is not known.", name=context.model.name)
        )
    machine = Machine.of(context.inventory.gpus, context.orders)
    readings = _targets(request, context, machine)
    choice = _choice(request, readings, context, machine)
    if isinstance(context.memory, VllmMemory):
        return plan_vllm(request, context, context.memory, readings if request.n_gpu_layers != 0 else (), choice, port)
    devices = engine_devices(choice.engine, readings, request.rpc_workers, machine)
    return _plan_llama(request, context, context.memory, readings, choice, devices, port)


def _plan_llama(
    request: ModelLoadRequest,
    context: PlanningContext,
    memory: MemoryModel,
    readings: Sequence[GpuReading],
    choice: Choice,
    devices: Sequence[EngineDevice],
    port: int,
) -> LaunchPlan:
    check_cache(request, context.model, memory)
    check_split(request, len(devices))
    asked, request = request, flash_attention.as_told(request, choice.engine)
    launch = _launch(request, context.model, choice.engine, devices, port)
    of_cuda = has_kernels_of_cuda(choice.engine, devices)
    load = _load(launch, devices, _contexts(request, choice.engine, readings, context))
    load = replace(load, kv_unified=launch.n_parallel == 1 or not divides_context(choice.engine))
    margin_bytes = context.settings.memory_margin_mib * MIB
    total = context.model.layer_count
    all_on_gpus = flash_attention.attending(load, request, memory, total if readings else 0, of_cuda=of_cuda)
    largest, experts = _what_fits_below(context.ceiling, memory, all_on_gpus, margin_bytes)
    resolved = resolve_layers(request.n_gpu_layers, largest, total) if devices else 0
    launch = replace(launch, n_gpu_layers=resolved, flash_attention=flash_attention.resolved(request, memory, resolved))
    on_gpus = resolved if readings else 0
    load = replace(load, n_gpu_layers=resolved)
    load = flash_attention.attending(load, request, memory, on_gpus, of_cuda=of_cuda)
    estimate = _estimate(context, memory, load, readings)
    on_workers = bool(request.rpc_workers) and resolved > 0
    cache_ram_mib = prompt_cache.resolved_mib(request, choice.engine, estimate.host, on_workers=on_workers)
    launch = replace(launch, cache_ram_mib=cache_ram_mib)
    environment = _environment(devices, readings, context, on_gpu=resolved > 0)
    keys = (KEY_VARIABLE,) if context.settings.model_api_keys else ()
    env = (*environment.env, PROGRESS_ENV, *((name, MASK) for name in keys))
    gpus = tuple(PlannedGpu.of(reading.gpu) for reading in readings)
    return LaunchPlan(
        request=with_gpus(asked, gpus),
        model=context.model,
        model_id=launch.alias,
        engine=choice.engine,
        reasons=(*choice.reasons, *gpu_reasons(request, readings)),
        argv=llama_argv(choice.engine, launch),
        env=env,
        env_unset=tuple(name for name in (*environment.unset, *OPTION_VARIABLES) if name not in dict(env)),
        secret_env=keys,
        host=HOST,
        port=port,
        n_ctx=launch.n_ctx,
        device_names=tuple(device.log_name for device in devices),
        layers=LayerPlan(request.n_gpu_layers, resolved, total, largest, experts),
        estimate=prompt_cache.counted(estimate, cache_ram_mib),
        warnings=(
            *choice.warnings,
            *_unknown(context.model, memory),
            *_warnings(request, context, devices, largest),
            *(warnings_of_devices(devices) if resolved else ()),
            *_warnings_of_slots(request, launch),
            *flash_attention.warnings_of_attention(request, memory, on_gpus, of_cuda=of_cuda),
            *prompt_cache.warnings_of_cache(request, on_workers=on_workers),
            *_taken_away(context, devices if on_gpus else ()),
        ),
        blocker=choice.blocker,
        margin_bytes=margin_bytes,
        for_others=choice.for_others,
        flash_attention=load.flash_attention,
        gpus=gpus,
    )


def _targets(request: ModelLoadRequest, context: PlanningContext, machine: Machine) -> tuple[GpuReading, ...]:
    if request.gpu_uuids is None and request.n_gpu_layers == 0:
        return ()
    engines = candidates(request, context.model, context.engines, is_recorded=context.inventory.replayed)

    def can(gpu: Gpu) -> bool:
        return any(suits(engine, request, (gpu,), machine) for engine in engines)

    def should(gpu: Gpu) -> bool:
        return can(gpu) and any(is_recommended(engine, context.model, gpu) for engine in engines)

    # Where the rules are against every GPU, the reason is told for the one that would have been taken.
    return target_gpus(request, context.inventory, should) or target_gpus(request, context.inventory, can)


def _choice(
    request: ModelLoadRequest, readings: Sequence[GpuReading], context: PlanningContext, machine: Machine
) -> Choice:
    if context.inventory.replayed:
        return for_recorded_machine(request, context.model, [reading.gpu for reading in readings], context.engines)
    if request.n_gpu_layers == 0:  # then the devices are only looked at, and any engine will do
        return choose(replace(request, rpc_workers=()), context.model, (), context.engines)
    return choose(request, context.model, [reading.gpu for reading in readings], context.engines, machine)


def _launch(
    request: ModelLoadRequest, model: ModelInfo, engine: EngineInfo, devices: Sequence[EngineDevice], port: int
) -> LlamaLaunch:
    """The number of layers is still to be found out."""
    embedding = request.server_type is ServerType.EMBEDDING
    # A model that was made to embed says how it pools. A language model does not, and its default is not to pool.
    borrowed = model.server_types[0] is not ServerType.EMBEDDING
    n_ctx = resolve_context(request, model)
    n_batch, n_ubatch = _batches(request, longest_request(n_ctx, model))
    return LlamaLaunch(
        model_path=request.model_path,
        alias=request.model_id or default_model_id(model),
        host=HOST,
        port=port,
        n_ctx=n_ctx,
        n_parallel=_slots(request, engine, n_ctx, longest_request(n_ctx, model)),
        n_gpu_layers=0,
        cache_type_k=request.cache_type_k,
        cache_type_v=request.cache_type_v,
        embedding=embedding,
        pooling=("mean" if borrowed else model.pooling) if embedding else None,
        devices=tuple(device.option for device in devices),
        split=_split(request, devices),
        rpc_workers=request.rpc_workers,
        flash_attention=request.flash_attention,
        n_threads=request.n_threads,
        n_batch=n_batch,
        n_ubatch=n_ubatch,
        n_cpu_moe=request.n_cpu_moe,
        extra_args=request.extra_args,
    )


def _slots(request: ModelLoadRequest, engine: EngineInfo, n_ctx: int, longest: int) -> int:
    """The slots asked for; of an engine that divides the context by them, as many as leave one request its length."""
    return min(request.n_parallel, max(n_ctx // longest, 1)) if divides_context(engine) else request.n_parallel


def _warnings_of_slots(request: ModelLoadRequest, launch: LlamaLaunch) -> tuple[Message, ...]:
    if launch.n_parallel == request.n_parallel:
        return ()
    return (
        Message(
            "This llama-server divides the context by its slots. So that one request can be {tokens} tokens long, it "
            "answers {slots} at a time and not {asked}.",
            tokens=launch.n_ctx // launch.n_parallel,
            slots=launch.n_parallel,
            asked=request.n_parallel,
        ),
    )


def _batches(request: ModelLoadRequest, longest: int) -> tuple[int, int]:
    """Tokens in a batch, and of these at once. An embedding's whole input has to be: it can be `longest` tokens.

    llama.cpp takes the smaller number for both where embeddings are served, and never computes more than a batch.
    """
    if request.server_type is ServerType.EMBEDDING:
        whole = -(-longest // CONTEXT_STEP) * CONTEXT_STEP
        n_ubatch = min(request.n_ubatch or whole, request.n_batch or whole)
        return n_ubatch, n_ubatch
    n_batch = request.n_batch or DEFAULT_BATCH
    return n_batch, min(request.n_ubatch or DEFAULT_UBATCH, n_batch)


def _split(request: ModelLoadRequest, devices: Sequence[EngineDevice]) -> tuple[float, ...]:
    """The shares asked for; by free memory in GiB with one decimal, so that argv and estimate mean the same.

    Where the free memory is not known, equal ones.
    """
    if request.split is not None:
        return request.split or (1.0,) * len(devices)
    free = [device.free_bytes for device in devices]
    known = [size for size in free if size is not None]
    if len(known) < len(free):
        return (1.0,) * len(free)
    return tuple(max(round(size / GIB, 1), 0.1) for size in known)


def _contexts(
    request: ModelLoadRequest, engine: EngineInfo, readings: Sequence[GpuReading], context: PlanningContext
) -> tuple[tuple[int, Tier], ...]:
    """What the driver has held for a process on each device besides the buffers that the engine counts, or holds for
    one usually. A worker's process is there already: what its driver holds is not free any more.
    """
    contexts = []
    for reading in readings:
        learned = context.residuals.get(reading.gpu, engine)
        usual = (usual_context_bytes(reading.gpu.compute_capability), Tier.FORMULA)
        contexts.append(usual if learned is None else (learned, Tier.MEASURED))
    return (*contexts, *((0, Tier.FORMULA) for _ in request.rpc_workers))


def _load(launch: LlamaLaunch, devices: Sequence[EngineDevice], contexts: Sequence[tuple[int, Tier]]) -> Load:
    return Load(
        n_gpu_layers=launch.n_gpu_layers,
        n_ctx=launch.n_ctx,
        n_parallel=launch.n_parallel,
        cache_type_k=launch.cache_type_k,
        cache_type_v=launch.cache_type_v,
        embedding=launch.embedding,
        devices=tuple(
            Device(device.label, device.free_bytes, *context, is_worker=device.is_worker)
            for device, context in zip(devices, contexts, strict=True)
        ),
        split=launch.split,
        n_batch=launch.n_batch,
        n_ubatch=launch.n_ubatch,
        flash_attention=launch.flash_attention is not FlashAttention.OFF,
        n_cpu_moe=launch.n_cpu_moe,
    )


def _what_fits_below(
    ceiling: Ceiling, memory: MemoryModel, load: Load, margin_bytes: int
) -> tuple[int | None, int | None]:
    if not load.devices:
        return None, None
    if ceiling.more_bytes:
        pairs = zip(load.devices, ceiling.more_bytes, strict=True)
        devices = (replace(device, context_bytes=device.context_bytes + more) for device, more in pairs)
        load = replace(load, devices=tuple(devices))
    largest, experts = _what_fits(memory, load, margin_bytes)
    if largest is None or ceiling.most_layers is None:
        return largest, experts
    return min(largest, ceiling.most_layers), experts


@lru_cache(maxsize=64)
def _what_fits(memory: MemoryModel, load: Load, margin_bytes: int) -> tuple[int | None, int | None]:
    """The most layers, and of how many blocks the experts would have to stay in RAM for all of them.

    Remembered, because every number is tried, and moving the slider does not change what fits.
    """
    largest = largest_layer_count(memory, load, margin_bytes)
    if not memory.has_experts or largest == memory.layer_count:
        return largest, None
    return largest, fewest_experts_in_ram(memory, load, margin_bytes)


def _environment(
    devices: Sequence[EngineDevice], readings: Sequence[GpuReading], context: PlanningContext, *, on_gpu: bool
) -> Placement:
    machine = [reading.gpu for reading in context.inventory.gpus]
    gpus = [reading.gpu for reading in readings]
    masked = [reading.gpu for reading, device in zip(readings, devices, strict=False) if device.is_masked]
    if not on_gpu or not gpus:
        return place((), machine)
    return place(masked, machine) if masked else unmasked()


def _estimate(context: PlanningContext, memory: MemoryModel, load: Load, readings: Sequence[GpuReading]) -> Estimate:
    cpu = context.inventory.cpu
    estimate = with_host(memory.estimate(load), readings, free_bytes(cpu))
    return naming_promises(estimate, readings, cpu)


def _unknown(model: ModelInfo, memory: MemoryModel) -> tuple[Message, ...]:
    if memory.is_known:
        return ()
    message = Message(
        "Launchdeck does not know the architecture {name}: its memory is estimated from keys and tensors alone.",
        name=model.architecture,
    )
    return (message,)


def _taken_away(context: PlanningContext, devices: Sequence[EngineDevice]) -> tuple[Message, ...]:
    """A model that does not fit is to fail where it can be seen, and the estimate is one of the GPU's own memory."""
    if UNIFIED_MEMORY not in context.inherited or not any(device.is_masked for device in devices):
        return ()
    message = Message(
        "{name} is set, and is taken away from the engine: with it, what does not fit on the GPU spills into RAM.",
        name=UNIFIED_MEMORY,
    )
    return (message,)


def _warnings(
    request: ModelLoadRequest,
    context: PlanningContext,
    devices: Sequence[EngineDevice],
    largest: int | None,
) -> tuple[Message, ...]:
    warnings: list[Message] = []
    asked = request.n_gpu_layers
    if not devices:
        warnings += warnings_without_gpus(request, context.inventory)
        if not warnings and asked not in {None, 0}:
            warnings.append(Message("On the CPU no layer is placed on a GPU; the layers asked for are ignored."))
    elif asked is None and largest == 0:
        warnings.append(Message("Not one layer fits on the chosen devices: the model will run on the CPU."))
    unknown = [device.label for device in devices if device.free_bytes is None]
    if asked is None and unknown:
        names = ", ".join(unknown)
        warnings.append(Message("The free memory of {names} is not known: all layers are placed.", names=names))
    guessed = [device.label for device in devices if device.is_guess and device.free_bytes is not None]
    if guessed:
        message = Message(
            "The free memory of {names} cannot be measured: the plan reckons with all that can be free.",
            names=", ".join(guessed),
        )
        warnings.append(message)
    return tuple(warnings)
