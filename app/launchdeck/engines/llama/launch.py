"""From a request to what llama-server is told, and from that to what takes memory. The layers are found out later."""

from __future__ import annotations

from collections.abc import Sequence

from launchdeck.domain.gpu import GpuReading
from launchdeck.domain.model import ModelInfo, ServerType
from launchdeck.domain.plan import EngineInfo, Tier
from launchdeck.domain.request import FlashAttention, ModelLoadRequest
from launchdeck.domain.units import GIB
from launchdeck.engines.context import HOST, PlanningContext, longest_request, resolve_context
from launchdeck.engines.devices.devices import EngineDevice
from launchdeck.engines.llama.argv import CONTEXT_STEP, DEFAULT_BATCH, DEFAULT_UBATCH, LlamaLaunch, divides_context
from launchdeck.engines.names import default_model_id
from launchdeck.planning.llama.estimate import Device, Load, usual_context_bytes


def llama_launch(
    request: ModelLoadRequest, model: ModelInfo, engine: EngineInfo, devices: Sequence[EngineDevice], port: int
) -> LlamaLaunch:
    """The number of layers is still to be found out."""
    embedding = request.server_type is ServerType.EMBEDDING
    # A model that was made to embed says how it pools. A language model does not, and its default is not to pool.
    borrowed = model.server_types[0] is not ServerType.EMBEDDING
    n_ctx = resolve_context(request, model)
    longest = longest_request(n_ctx, request, model, engine)
    n_batch, n_ubatch = _batches(request, longest)
    return LlamaLaunch(
        model_path=request.model_path,
        alias=request.model_id or default_model_id(model),
        host=HOST,
        port=port,
        n_ctx=n_ctx,
        n_parallel=_slots(request, engine, n_ctx, longest),
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


def driver_contexts(
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


def llama_load(launch: LlamaLaunch, devices: Sequence[EngineDevice], contexts: Sequence[tuple[int, Tier]]) -> Load:
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
