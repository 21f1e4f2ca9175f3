"""From a request to a launch of vLLM."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

from launchdeck.domain.errors import Cause, Failure, LaunchdeckError
from launchdeck.domain.gpu import Gpu, GpuReading, PlannedGpu
from launchdeck.domain.model import ServerType
from launchdeck.domain.plan import MASK, LaunchPlan, LayerPlan
from launchdeck.domain.request import FlashAttention, ModelLoadRequest
from launchdeck.domain.text import Message
from launchdeck.domain.units import GIB, MIB
from launchdeck.engines.choice import Choice
from launchdeck.engines.context import (
    HOST,
    PlanningContext,
    gpu_reasons,
    resolve_context,
    resolve_layers,
)
from launchdeck.engines.devices.devices import free_bytes
from launchdeck.engines.devices.masking import Placement, place
from launchdeck.engines.devices.shared_ram import naming_promises, with_host
from launchdeck.engines.devices.targets import warnings_without_gpus, with_gpus
from launchdeck.engines.fixes import RUN_ON_CPU
from launchdeck.engines.names import default_model_id
from launchdeck.engines.vllm.argv import (
    CACHE_SPACE_VARIABLE,
    DEFAULT_BATCH,
    KEY_VARIABLE,
    OPTION_VARIABLES,
    QUIET_ENV,
    VllmLaunch,
    vllm_argv,
)
from launchdeck.engines.vllm.find import parse_version
from launchdeck.engines.vllm.log import worker_name
from launchdeck.hardware.gpu_names import compute_capability
from launchdeck.planning.vllm.memory import VllmBudget, VllmDevice, VllmLoad, VllmMemory

_BFLOAT16_CAPABILITY = (8, 0)
# Up to this version a UUID in the mask ends vLLM.
_LAST_WITHOUT_UUID = (0, 20, 1)
_DTYPE_BYTES = {"float32": 4}
_GGUF_BITS = 4.85  # of a weight in Q4_K_M, the usual choice


def plan_vllm(
    request: ModelLoadRequest,
    context: PlanningContext,
    memory: VllmMemory,
    readings: Sequence[GpuReading],
    choice: Choice,
    port: int,
) -> LaunchPlan:
    """The launch of vLLM that this request means on these GPUs.

    Raises:
        LaunchdeckError: it cannot be carried out.
    """
    gpus = [reading.gpu for reading in readings]
    dtype = _dtype(request, memory, gpus)
    load = _load(request, context, memory, readings, dtype)
    margin_bytes = context.settings.memory_margin_mib * MIB
    largest = _largest(memory, load, margin_bytes) if gpus else None
    resolved = resolve_layers(request.n_gpu_layers, largest, memory.layer_count) if gpus else 0
    if gpus and not resolved:
        raise _nothing_fits(context)
    load = replace(load, n_gpu_layers=resolved)
    budget = memory.budget(load, margin_bytes)
    if not gpus:
        budget = _in_whole_gib(budget)
    launch = _launch(request, context, load, budget, dtype, port)
    keys = (KEY_VARIABLE,) if context.settings.model_api_keys else ()
    placement = _placement(choice, gpus, context)
    env = (*placement.env, *_environment(budget, on_cpu=not gpus), *((name, MASK) for name in keys))
    planned = tuple(map(PlannedGpu.of, gpus))
    return LaunchPlan(
        request=with_gpus(request, planned),
        model=context.model,
        model_id=launch.alias,
        engine=replace(choice.engine, architectures=frozenset()),  # of no use any more, and long
        reasons=(*choice.reasons, *gpu_reasons(request, readings)),
        argv=vllm_argv(choice.engine, launch),
        env=env,
        env_unset=(*placement.unset, *OPTION_VARIABLES),
        secret_env=keys,
        host=HOST,
        port=port,
        n_ctx=launch.n_ctx,
        device_names=_device_names(load),
        layers=LayerPlan(request.n_gpu_layers, resolved, memory.layer_count, largest),
        estimate=naming_promises(
            with_host(budget.estimate, readings, load.host_free_bytes), readings, context.inventory.cpu
        ),
        warnings=(*choice.warnings, *_warnings(request, context, memory, load, budget, dtype)),
        blocker=choice.blocker,
        margin_bytes=margin_bytes,
        for_others=choice.for_others,
        gpus=planned,
    )


def _load(
    request: ModelLoadRequest,
    context: PlanningContext,
    memory: VllmMemory,
    readings: Sequence[GpuReading],
    dtype: str,
) -> VllmLoad:
    n_ctx = resolve_context(request, context.model)
    n_batch = request.n_batch or DEFAULT_BATCH
    if request.server_type is ServerType.EMBEDDING:
        n_batch = max(n_batch, n_ctx)  # the whole of a text is computed at once
    tensor_parallel = memory.tensor_parallel(len(readings)) if readings else 1
    return VllmLoad(
        n_gpu_layers=0,
        n_ctx=n_ctx,
        n_parallel=request.n_parallel,
        n_batch=n_batch,
        dtype_bytes=_DTYPE_BYTES.get(dtype, 2),
        devices=tuple(
            VllmDevice(f"GPU {reading.gpu.index}", free_bytes(reading), reading.gpu.total_memory_bytes)
            for reading in readings
        ),
        tensor_parallel=tensor_parallel,
        pipeline_parallel=max(len(readings) // tensor_parallel, 1),
        host_free_bytes=free_bytes(context.inventory.cpu),
    )


@lru_cache(maxsize=64)
def _largest(memory: VllmMemory, load: VllmLoad, margin_bytes: int) -> int | None:
    """Remembered, because every number is tried, and moving the slider does not change what fits."""
    return memory.largest_layer_count(load, margin_bytes)


def _in_whole_gib(budget: VllmBudget) -> VllmBudget:
    """On the CPU the cache is reserved in whole GiB, at least one."""
    reserved_bytes = max(-(-budget.kv_bytes // GIB), 1) * GIB
    host = replace(budget.estimate.host, kv_bytes=reserved_bytes)
    return replace(budget, estimate=replace(budget.estimate, host=host), kv_bytes=reserved_bytes)


def _dtype(request: ModelLoadRequest, memory: VllmMemory, gpus: Sequence[Gpu]) -> str:
    """The model's own type where the GPU computes in it; single precision is more than serving needs.

    Source: `_resolve_auto_dtype` of vLLM.
    """
    own = memory.dtype or "float16"
    if own == "float32":
        own = "float16" if request.server_type is ServerType.EMBEDDING else "bfloat16"
    too_old = any((compute_capability(gpu) or _BFLOAT16_CAPABILITY) < _BFLOAT16_CAPABILITY for gpu in gpus)
    return "half" if own == "float16" or too_old else own


def _launch(
    request: ModelLoadRequest,
    context: PlanningContext,
    load: VllmLoad,
    budget: VllmBudget,
    dtype: str,
    port: int,
) -> VllmLaunch:
    embedding = request.server_type is ServerType.EMBEDDING
    return VllmLaunch(
        model_path=context.model.path,
        alias=request.model_id or default_model_id(context.model),
        host=HOST,
        port=port,
        n_ctx=load.n_ctx,
        n_parallel=load.n_parallel,
        n_batch=load.n_batch,
        dtype=dtype,
        tensor_parallel=load.tensor_parallel,
        pipeline_parallel=load.pipeline_parallel,
        utilization=budget.utilization,
        offload_bytes=budget.offload_bytes,
        pooling=embedding,
        convert=embedding and context.model.server_types[0] is not ServerType.EMBEDDING,
    )


def _placement(choice: Choice, gpus: Sequence[Gpu], context: PlanningContext) -> Placement:
    version = parse_version(choice.engine.version)
    numbered = version is not None and version <= _LAST_WITHOUT_UUID
    return place(gpus, [reading.gpu for reading in context.inventory.gpus], numbered=numbered)


def _environment(budget: VllmBudget, *, on_cpu: bool) -> tuple[tuple[str, str], ...]:
    if not on_cpu:
        return (QUIET_ENV,)
    return (QUIET_ENV, (CACHE_SPACE_VARIABLE, str(budget.kv_bytes // GIB)))


def _device_names(load: VllmLoad) -> tuple[str, ...]:
    tensor, pipeline = load.tensor_parallel, load.pipeline_parallel
    return tuple(worker_name(i % tensor, i // tensor, tensor, pipeline) for i in range(len(load.devices)))


def _warnings(
    request: ModelLoadRequest,
    context: PlanningContext,
    memory: VllmMemory,
    load: VllmLoad,
    budget: VllmBudget,
    dtype: str,
) -> tuple[Message, ...]:
    warnings: list[Message] = []
    if ignored := _ignored(request):
        warnings.append(Message("vLLM has no such settings, they are ignored: {names}.", names=", ".join(ignored)))
    if dtype == "half" and memory.dtype == "bfloat16":
        warnings.append(Message("The GPU cannot compute in bfloat16: the model is served in half precision."))
    if load.devices:
        warnings += _fit_warnings(memory, load, budget)
    else:
        warnings += warnings_without_gpus(request, context.inventory)
        warnings.append(Message("Without a GPU llama-server is the better engine, with the model as a GGUF file."))
    return tuple(warnings)


def _fit_warnings(memory: VllmMemory, load: VllmLoad, budget: VllmBudget) -> list[Message]:
    warnings = []
    if budget.sequences < load.n_parallel:
        warnings.append(
            Message(
                "The KV cache has room for {sequences} requests of {n_ctx} tokens at once, not for {asked}.",
                sequences=f"{budget.sequences:.1f}",
                n_ctx=load.n_ctx,
                asked=load.n_parallel,
            )
        )
    fits = all(device.fits is not False for device in budget.estimate.devices)
    if not fits or load.n_gpu_layers < memory.layer_count:
        layers = memory.gguf_layer_count(load, _GGUF_BITS)
        if layers is not None:
            warnings.append(
                Message(
                    "As a GGUF file (Q4_K_M) llama-server could place about {layers} of its {total} layers there.",
                    layers=layers,
                    total=memory.layer_count,
                )
            )
    unknown = [device.name for device in load.devices if device.free_bytes is None]
    if unknown:
        names = ", ".join(unknown)
        warnings.append(Message("The free memory of {names} is not known: vLLM takes its usual share.", names=names))
    return warnings


def _ignored(request: ModelLoadRequest) -> list[str]:
    """The settings of llama.cpp that were changed and mean nothing here."""
    changed = {
        "cache-type-k": request.cache_type_k != "f16",
        "cache-type-v": request.cache_type_v != "f16",
        "flash-attn": request.flash_attention is not FlashAttention.AUTO,
        "split": request.split is not None,
        "threads": request.n_threads is not None,
        "ubatch-size": request.n_ubatch is not None,
        "n-cpu-moe": request.n_cpu_moe != 0,
        "cache-ram": request.cache_ram_mib is not None,
        "extra-args": bool(request.extra_args),
    }
    return [name for name, is_changed in changed.items() if is_changed]


def _nothing_fits(context: PlanningContext) -> LaunchdeckError:
    return LaunchdeckError(
        Failure(
            Cause.OUT_OF_MEMORY,
            Message("{name} does not fit with vLLM: not even one layer does.", name=context.model.name),
            Message("Use less context, free some of the GPU's memory, or take the model as a smaller GGUF file."),
            fixes=(RUN_ON_CPU,),
        )
    )
