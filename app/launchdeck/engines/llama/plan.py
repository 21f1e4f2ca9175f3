"""llama.cpp's part of planning: how many layers fit, what they take, and the command that says so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from launchdeck.domain.gpu import GpuReading, PlannedGpu
from launchdeck.domain.plan import MASK, EngineInfo, Estimate, LaunchPlan, LayerPlan
from launchdeck.domain.request import ModelLoadRequest
from launchdeck.domain.text import Message
from launchdeck.domain.units import MIB
from launchdeck.engines.choice import Choice
from launchdeck.engines.context import HOST, Ceiling, PlanningContext, gpu_reasons, resolve_layers
from launchdeck.engines.devices.devices import EngineDevice, free_bytes, has_kernels_of_cuda, warnings_of_devices
from launchdeck.engines.devices.masking import Placement, place, unmasked
from launchdeck.engines.devices.shared_ram import naming_promises, with_host
from launchdeck.engines.devices.targets import with_gpus
from launchdeck.engines.llama import flash_attention, prompt_cache
from launchdeck.engines.llama.argv import (
    KEY_VARIABLE,
    OPTION_VARIABLES,
    PROGRESS_ENV,
    LlamaLaunch,
    divides_context,
    llama_argv,
)
from launchdeck.engines.llama.checks import check_cache, check_split
from launchdeck.engines.llama.launch import driver_contexts, llama_launch, llama_load
from launchdeck.engines.llama.warnings import (
    warnings_of_environment,
    warnings_of_layers,
    warnings_of_model,
    warnings_of_scaling,
    warnings_of_slots,
)
from launchdeck.planning.llama.estimate import Load, MemoryModel
from launchdeck.planning.llama.fit import fewest_experts_in_ram, largest_layer_count


@dataclass(frozen=True, slots=True)
class Layout:
    """Where a launch goes: the engine that was chosen, and the GPUs and workers as it names them."""

    choice: Choice
    readings: Sequence[GpuReading]
    devices: Sequence[EngineDevice]

    @property
    def engine(self) -> EngineInfo:
        return self.choice.engine


@dataclass(frozen=True, slots=True)
class _Fitted:
    """The launch with its number of layers, and what that takes. `largest`, `experts` as in LayerPlan."""

    launch: LlamaLaunch
    load: Load
    largest: int | None
    experts: int | None
    on_gpus: int


def plan_llama(
    request: ModelLoadRequest, context: PlanningContext, memory: MemoryModel, layout: Layout, port: int
) -> LaunchPlan:
    """The launch of llama.cpp that this request means there.

    Raises:
        LaunchdeckError: it cannot be carried out.
    """
    check_cache(request, context.model, memory)
    check_split(request, len(layout.devices))
    asked, request = request, flash_attention.as_told(request, layout.engine)
    fitted = _fitted(request, context, memory, layout, port)
    launch, estimate = _with_prompts(request, context, memory, layout, fitted)
    environment = _environment(layout, context, on_gpu=launch.n_gpu_layers > 0)
    keys = (KEY_VARIABLE,) if context.settings.model_api_keys else ()
    env = (*environment.env, PROGRESS_ENV, *((name, MASK) for name in keys))
    gpus = tuple(PlannedGpu.of(reading.gpu) for reading in layout.readings)
    total = context.model.layer_count
    return LaunchPlan(
        request=with_gpus(asked, gpus),
        model=context.model,
        model_id=launch.alias,
        engine=layout.engine,
        reasons=(*layout.choice.reasons, *gpu_reasons(request, layout.readings)),
        argv=llama_argv(layout.engine, launch),
        env=env,
        env_unset=tuple(name for name in (*environment.unset, *OPTION_VARIABLES) if name not in dict(env)),
        secret_env=keys,
        host=HOST,
        port=port,
        n_ctx=launch.n_ctx,
        device_names=tuple(device.log_name for device in layout.devices),
        layers=LayerPlan(request.n_gpu_layers, launch.n_gpu_layers, total, fitted.largest, fitted.experts),
        estimate=estimate,
        warnings=_warnings(request, context, memory, layout, fitted),
        blocker=layout.choice.blocker,
        margin_bytes=context.settings.memory_margin_mib * MIB,
        for_others=layout.choice.for_others,
        flash_attention=fitted.load.flash_attention,
        gpus=gpus,
        n_slots=launch.n_parallel,
    )


def _fitted(
    request: ModelLoadRequest, context: PlanningContext, memory: MemoryModel, layout: Layout, port: int
) -> _Fitted:
    engine, devices, readings = layout.engine, layout.devices, layout.readings
    launch = llama_launch(request, context.model, engine, devices, port)
    of_cuda = has_kernels_of_cuda(engine, devices)
    load = llama_load(launch, devices, driver_contexts(request, engine, readings, context))
    load = replace(load, kv_unified=launch.n_parallel == 1 or not divides_context(engine))
    total = context.model.layer_count
    all_on_gpus = flash_attention.attending(load, request, memory, total if readings else 0, of_cuda=of_cuda)
    margin_bytes = context.settings.memory_margin_mib * MIB
    largest, experts = _what_fits_below(context.ceiling, memory, all_on_gpus, margin_bytes)
    resolved = resolve_layers(request.n_gpu_layers, largest, total) if devices else 0
    on_gpus = resolved if readings else 0
    load = flash_attention.attending(replace(load, n_gpu_layers=resolved), request, memory, on_gpus, of_cuda=of_cuda)
    attention = flash_attention.resolved(request, memory, resolved)
    launch = replace(launch, n_gpu_layers=resolved, flash_attention=attention)
    return _Fitted(launch, load, largest, experts, on_gpus)


def _with_prompts(
    request: ModelLoadRequest, context: PlanningContext, memory: MemoryModel, layout: Layout, fitted: _Fitted
) -> tuple[LlamaLaunch, Estimate]:
    """With as much RAM for prompts that are kept as the rest of the estimate leaves."""
    estimate = _estimate(context, memory, fitted.load, layout.readings)
    mib = prompt_cache.resolved_mib(request, layout.engine, estimate.host, on_workers=_uses_workers(request, fitted))
    return replace(fitted.launch, cache_ram_mib=mib), prompt_cache.counted(estimate, mib)


def _uses_workers(request: ModelLoadRequest, fitted: _Fitted) -> bool:
    return bool(request.rpc_workers) and fitted.launch.n_gpu_layers > 0


def _warnings(
    request: ModelLoadRequest, context: PlanningContext, memory: MemoryModel, layout: Layout, fitted: _Fitted
) -> tuple[Message, ...]:
    devices, on_gpus = layout.devices, fitted.on_gpus
    of_cuda = has_kernels_of_cuda(layout.engine, devices)
    return (
        *layout.choice.warnings,
        *warnings_of_model(context.model, memory),
        *warnings_of_layers(request, context, devices, fitted.largest),
        *(warnings_of_devices(devices) if fitted.launch.n_gpu_layers else ()),
        *warnings_of_slots(request, fitted.launch),
        *warnings_of_scaling(request, context.model, layout.engine, fitted.launch.n_ctx),
        *flash_attention.warnings_of_attention(request, memory, on_gpus, of_cuda=of_cuda),
        *prompt_cache.warnings_of_cache(request, on_workers=_uses_workers(request, fitted)),
        *warnings_of_environment(context, devices if on_gpus else ()),
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


def _environment(layout: Layout, context: PlanningContext, *, on_gpu: bool) -> Placement:
    machine = [reading.gpu for reading in context.inventory.gpus]
    pairs = zip(layout.readings, layout.devices, strict=False)  # workers follow
    masked = [reading.gpu for reading, device in pairs if device.is_masked]
    if not on_gpu or not layout.readings:
        return place((), machine)
    return place(masked, machine) if masked else unmasked()


def _estimate(context: PlanningContext, memory: MemoryModel, load: Load, readings: Sequence[GpuReading]) -> Estimate:
    cpu, estimate = context.inventory.cpu, memory.estimate(load)
    free = free_bytes(cpu)
    if free is not None:  # of a file that others have mapped as well, what they need of it stays theirs
        free = max(free - max(context.shared_bytes - estimate.host.weights_bytes, 0), 0)
    return naming_promises(with_host(estimate, readings, free), readings, cpu)
