"""The documents that the interface answers with, described for its OpenAPI document."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, WithJsonSchema

from launchdeck.domain.deployment import State
from launchdeck.domain.detection import Outcome
from launchdeck.domain.errors import Cause
from launchdeck.domain.model import ModelFormat, ServerType
from launchdeck.engines.registry import ENGINES, adapters

GpuTypeName = Literal["nvidia", "amd", "cpu"]
GpuStateName = Literal["active", "asleep", "lost"]
StatusName = Literal["loading", "running", "failed", "stopped"]
BackendName = Annotated[str, WithJsonSchema({"type": "string", "enum": [engine.backend for engine in ENGINES]})]
EngineName = Annotated[str, WithJsonSchema({"type": "string", "enum": sorted(adapters())})]


class Answer(BaseModel):
    model_config = ConfigDict(protected_namespaces=(), defer_build=True)  # nothing is checked by it, only described


class GpuProcess(Answer):
    pid: int
    name: str
    used_memory_mb: int | None


class Gpu(Answer):
    """Memory in MiB. null: not measurable. `core_percents`: the load of each core, of the CPU alone.
    `promised_memory_mb`: the part of the free memory that launches will take and do not hold yet.
    `ours`: whether models may be placed on it; `hidden_by` is the variable that hides it, "NAME=VALUE".
    `slice_of`: the UUID of the card that it is a slice of (MIG); `problem`: why no model can be started on it.
    """

    index: int
    uuid: str
    pci_address: str | None
    name: str
    gpu_type: GpuTypeName
    ours: bool
    hidden_by: str | None
    total_memory_mb: int | None
    used_memory_mb: int | None
    free_memory_mb: int | None
    promised_memory_mb: int
    utilization_percent: int | None
    core_percents: list[int]
    temperature_c: int | None
    power_watts: float | None
    power_limit_watts: float | None
    graphics_clock_mhz: int | None
    memory_clock_mhz: int | None
    fan_percent: int | None
    state: GpuStateName
    integrated: bool
    hip_id: int | None
    gfx_target: str | None
    slice_of: str | None
    problem: str | None
    driver_version: str | None
    compute_capability: str | None
    processes: list[GpuProcess]


class DetectionStep(Answer):
    """One source that was to be asked, and what came of it."""

    detector: str
    outcome: Outcome
    reason: str | None
    version: str | None


class Gpus(Answer):
    """GPUs only; without any, the CPU alone."""

    gpus: list[Gpu]
    total: int
    detector: str
    cpu: Gpu
    sampled_at_s: float
    replay: bool
    detection: list[DetectionStep]


class Model(Answer):
    path: str
    name: str
    format: ModelFormat
    architecture: str | None
    size_bytes: int
    block_count: int | None
    context_length: int | None
    quantisation: str | None
    server_types: list[ServerType]
    problem: str | None


class Models(Answer):
    models: list[Model]


class DeviceMemory(Answer):
    device: str
    weights_bytes: int
    kv_bytes: int
    compute_bytes: int


class DeviceEstimate(DeviceMemory):
    """`free_bytes` is what remains after `promised_bytes`, which the models in `promised_to` will take. On the host
    `overhead_bytes` is what the prompt cache may grow to.
    """

    overhead_bytes: int
    total_bytes: int
    free_bytes: int | None
    promised_bytes: int
    promised_to: list[str]
    fits: bool | None


class Estimate(Answer):
    """`devices`: the chosen GPUs in their order, and never the CPU."""

    devices: list[DeviceEstimate]
    host: DeviceEstimate


class Layers(Answer):
    asked: int | None
    resolved: int
    total: int
    largest_that_fits: int | None


class Plan(Answer):
    backend: BackendName
    reasons: list[str]
    argv: list[str]
    env: dict[str, str]
    estimate: Estimate
    layers: Layers
    warnings: list[str]


class Started(Answer):
    """Loading has begun; loading-status tells how it goes."""

    id: str
    model_id: str
    port: int
    backend: BackendName
    engine: EngineName
    status: StatusName
    state: State
    url: str
    api_key: str | None
    gpu_index: int | None
    gpu_indices: list[int]
    gpu_uuids: list[str]
    warnings: list[str]


class Applied(Answer):
    """What the engine says it did; null where it has not said so (yet)."""

    layers_offloaded: int | None
    layers_total: int | None
    n_ctx: int | None
    n_ctx_slot: int | None
    n_slots: int | None
    flash_attention: bool | None
    devices: list[DeviceMemory]


class Measured(Answer):
    """Memory of the engine's process tree, and when it was started and ready (Unix time)."""

    vram_bytes: int | None
    rss_bytes: int | None
    created_at_s: float
    ready_at_s: float | None
    loading_s: float | None


class Fix(Answer):
    """A changed request that would help: `changes` are fields of the load request."""

    label: str
    changes: dict[str, Any]


class Error(Answer):
    cause: Cause
    message: str
    advice: str | None
    evidence: list[str]
    fixes: list[Fix]


class Deployment(Answer):
    """`gpu_index`, `gpu_indices` and `lost_gpus` are places in the GPU list as it is now; `gpu_uuids` and
    `lost_gpu_uuids` have GPUs that are not in it as well.
    """

    id: str
    model_id: str
    model_path: str
    status: StatusName
    state: State
    backend: BackendName
    engine: EngineName
    port: int
    url: str
    api_key: str | None
    server_type: ServerType
    gpu_index: int | None
    gpu_indices: list[int]
    gpu_uuids: list[str]
    n_gpu_layers: int
    context_length: int
    progress: float | None
    stage: str | None
    queued_because: str | None
    applied: Applied
    predicted: Estimate
    measured: Measured
    lost_gpus: list[int]
    lost_gpu_uuids: list[str]
    starts_with_launchdeck: bool
    error: Error | None


class LoadingStatus(Answer):
    models: list[Deployment]


class Marked(Answer):
    id: str
    model_id: str
    starts_with_launchdeck: bool


class Stopped(Answer):
    """`was_live` is false where it had ended before, and was only taken off the list. `note` tells of one that could
    not be stopped as usual.
    """

    id: str
    model_id: str
    status: Literal["stopped"]
    state: Literal["stopped"]
    was_live: bool
    note: str | None


class Logs(Answer):
    id: str
    model_id: str
    lines: list[str]


class HandedOver(Answer):
    handed_over: Literal[True]


class Problem(Answer):
    """RFC 9457. `detail` has the words of the window, `advice` what to do about it; it and the members after it are
    there where a launch is refused.
    """

    type: str
    title: str
    status: int
    detail: str
    cause: Cause | None = None
    advice: str | None = None
    evidence: list[str] = []
    fixes: list[Fix] = []
