"""Ready-made values of the shared vocabulary, for tests that show them rather than make them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from launchdeck.domain.deployment import Applied, Buffer, Deployment, State
from launchdeck.domain.errors import Cause, Failure, Fix
from launchdeck.domain.gpu import Gpu, GpuReading, GpuSample, GpuType, Inventory, PlannedGpu
from launchdeck.domain.model import ModelFormat, ModelInfo, ServerType
from launchdeck.domain.plan import (
    DeviceEstimate,
    EngineInfo,
    EngineKind,
    Estimate,
    LaunchPlan,
    LayerPlan,
)
from launchdeck.domain.request import ModelLoadRequest
from launchdeck.domain.text import Message

GIB = 1024**3
MIB = 1024**2

LLAMA_SERVER = EngineInfo(
    EngineKind.LLAMA_SERVER,
    ("/opt/llama/llama-server",),
    Path("/opt/llama/llama-server"),
    "b10605",
    frozenset({GpuType.NVIDIA}),
    build=10605,
)
EMBEDDED = EngineInfo(EngineKind.EMBEDDED, ("python", "-m", "engine"), None, "2026.10", frozenset())


def gpu(index: int, name: str, gpu_type: GpuType, total_gib: float, used_gib: float) -> GpuReading:
    total, used = int(total_gib * GIB), int(used_gib * GIB)
    return GpuReading(
        Gpu(index, f"GPU-{index}", f"0000:0{index + 1}:00.0", name, gpu_type, total),
        GpuSample(1000.0, used, total - used, 43, 61, 212.0),
    )


def inventory(*gpus: GpuReading) -> Inventory:
    cpu = GpuReading(
        Gpu(0, "cpu", None, "Ryzen 9 7950X", GpuType.CPU, 64 * GIB),
        GpuSample(1000.0, int(18.2 * GIB), int(45.8 * GIB), 12),
    )
    return Inventory(gpus, cpu, "NVMLDetector", 1000.0)


def planned_gpus(*places: int) -> tuple[PlannedGpu, ...]:
    """As a plan names the GPUs that `gpu` makes."""
    return tuple(PlannedGpu(n, f"GPU-{n}", "RTX 4090", f"0000:0{n + 1}:00.0") for n in places)


def two_gpus() -> Inventory:
    return inventory(
        gpu(0, "RTX 4090", GpuType.NVIDIA, 24, 11.4),
        gpu(1, "RX 7900 XTX", GpuType.AMD, 24, 4.1),
    )


def model(name: str = "qwen3-14b-q4_k_m", *, blocks: int = 40, size_gib: float = 8.4) -> ModelInfo:
    return ModelInfo(
        Path(f"/models/{name}.gguf"),
        name,
        ModelFormat.GGUF,
        "qwen3",
        int(size_gib * GIB),
        blocks,
        40960,
        "Q4_K_M",
        (ServerType.LLM, ServerType.EMBEDDING),
    )


def broken_model(name: str = "broken") -> ModelInfo:
    reason = Message("The file {name} is not complete.", name=f"{name}.gguf")
    return replace(model(name), block_count=None, context_length=None, server_types=(), problem=reason)


def device_estimate(name: str, total_gib: float, free_gib: float | None) -> DeviceEstimate:
    """A usual share of weights, KV, compute and overhead."""
    free = None if free_gib is None else int(free_gib * GIB)
    parts = (int(total_gib * GIB * share) for share in (0.74, 0.12, 0.08, 0.06))
    return DeviceEstimate(name, *parts, free)


def plan(
    name: str = "qwen3-8b",
    *,
    request: ModelLoadRequest | None = None,
    devices: tuple[DeviceEstimate, ...] | None = None,
    layers: LayerPlan | None = None,
    port: int = 8001,
    engine: EngineInfo = LLAMA_SERVER,
) -> LaunchPlan:
    info = model(name, blocks=36, size_gib=4.7)
    request = request or ModelLoadRequest(info.path, gpu_uuids=("GPU-0",), n_gpu_layers=37, n_ctx=8192)
    layers = layers or LayerPlan(37, 37, 37, 37)
    argv = (*engine.command, "--model", str(info.path), "--n-gpu-layers", str(layers.resolved), "--port", str(port))
    places = [int(uuid.removeprefix("GPU-")) for uuid in request.gpu_uuids or ()]
    return LaunchPlan(
        request=request,
        model=info,
        model_id=name,
        engine=engine,
        reasons=(Message("the file is GGUF"),),
        argv=argv,
        env=(("CUDA_VISIBLE_DEVICES", "GPU-0"), ("LLAMA_API_KEY", "***")),
        env_unset=(),
        secret_env=("LLAMA_API_KEY",),
        host="127.0.0.1",
        port=port,
        n_ctx=request.n_ctx or 8192,
        device_names=("CUDA0",),
        layers=layers,
        estimate=Estimate(
            devices if devices is not None else (device_estimate("CUDA0", 7.1, 12.6),),
            device_estimate("CPU", 0.3, 45.8),
        ),
        gpus=planned_gpus(*places),
    )


APPLIED = Applied(
    layers_offloaded=37,
    layers_total=37,
    n_ctx=8192,
    n_slots=4,
    devices=("CUDA0",),
    buffers=(
        Buffer("CUDA0", "weights", int(4.35 * GIB)),
        Buffer("CUDA0", "kv", int(1.13 * GIB)),
        Buffer("CUDA0", "compute", 304 * MIB),
        Buffer("CPU_Mapped", "weights", 292 * MIB),
        Buffer("CUDA_Host", "compute", 24 * MIB),
    ),
)


def deployment(key: str = "d1", name: str = "qwen3-8b", state: State = State.RUNNING, **changes: object) -> Deployment:
    values: dict[str, object] = {
        "plan": plan(name),
        "created_at_s": 1000.0,
        "ready_at_s": 1004.0 if state is State.RUNNING else None,
        "applied": APPLIED if state is State.RUNNING else Applied(),
        "pids": (4242,),
        "vram_bytes": int(7.2 * GIB) if state is State.RUNNING else None,
    }
    return Deployment(key, state=state, **(values | changes))


def failed_deployment(key: str = "f1") -> Deployment:
    failure = Failure(
        Cause.OUT_OF_MEMORY,
        Message("It needs {need} GiB, {free} GiB are free.", need=48, free=32),
        Message("Put fewer layers on the GPU."),
        evidence=("ggml_backend_cuda_buffer_type_alloc_buffer: allocating 48000.00 MiB failed",),
        fixes=(Fix(Message("Use {count} layers", count=38), (("n_gpu_layers", 38),)),),
    )
    return deployment(key, "llama-70b", State.FAILED, failure=failure, ended_at_s=1010.0, pids=())
