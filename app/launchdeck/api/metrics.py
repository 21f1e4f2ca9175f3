"""Everything for Prometheus, read when it is asked for. What cannot be measured has no sample."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.responses import Response

from launchdeck import __version__
from launchdeck.domain.deployment import Deployment, State
from launchdeck.domain.gpu import GpuReading

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import ASGIApp

    from launchdeck.api.backend import Backend

MEDIA_TYPE: Final = CONTENT_TYPE_LATEST
MEGAHERTZ: Final = 1e6

_GPU_LABELS: Final = ("gpu", "uuid", "name", "vendor")
_MODEL_LABELS: Final = ("id", "model")


class LaunchdeckCollector(Collector):
    """Reads what the backend knows at this moment."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def collect(self) -> Iterator[Metric]:
        yield InfoMetricFamily("launchdeck", "The application", value={"version": __version__})
        inventory = self._backend.planner.inventory
        if inventory is not None:
            yield GaugeMetricFamily(
                "launchdeck_sample_timestamp_seconds", "When the GPUs were last read", value=inventory.sampled_at_s
            )
            yield GaugeMetricFamily(
                "launchdeck_replay", "1: the GPUs are those of a recorded inventory", value=inventory.replayed
            )
            yield from _gpu_metrics(inventory.gpus)
        deployments = self._backend.manager.deployments
        yield from _deployment_metrics(deployments)
        yield from _memory_metrics(deployments)
        yield _restarts(deployments)


def _gpu_metrics(readings: tuple[GpuReading, ...]) -> Iterator[Metric]:
    """Base units throughout: bytes, ratios from 0 to 1, degrees Celsius, watts, hertz."""
    families = (
        ("memory_total_bytes", "Memory of the GPU", [r.gpu.total_memory_bytes for r in readings], 1.0),
        ("memory_used_bytes", "Memory in use", [r.sample.used_memory_bytes for r in readings], 1.0),
        ("memory_free_bytes", "Memory left", [r.sample.free_memory_bytes for r in readings], 1.0),
        ("utilization_ratio", "Share of time at work", [r.sample.utilization_percent for r in readings], 0.01),
        ("temperature_celsius", "Temperature", [r.sample.temperature_c for r in readings], 1.0),
        ("power_watts", "Power drawn", [r.sample.power_watts for r in readings], 1.0),
        ("power_limit_watts", "Most power that may be drawn", [r.sample.power_limit_watts for r in readings], 1.0),
        ("graphics_clock_hertz", "Clock of the cores", [r.sample.graphics_clock_mhz for r in readings], MEGAHERTZ),
        ("memory_clock_hertz", "Clock of the memory", [r.sample.memory_clock_mhz for r in readings], MEGAHERTZ),
        ("fan_ratio", "Speed of the fan", [r.sample.fan_percent for r in readings], 0.01),
        ("up", "Whether the GPU answers", [r.sample.state.answers for r in readings], 1.0),
    )
    for name, meaning, values, factor in families:
        family = GaugeMetricFamily(f"launchdeck_gpu_{name}", meaning, labels=_GPU_LABELS)
        for reading, value in zip(readings, values, strict=True):
            if value is not None:
                gpu = reading.gpu
                family.add_metric((str(gpu.index), gpu.uuid, gpu.name, str(gpu.gpu_type)), value * factor)
        yield family


def _restarts(deployments: tuple[Deployment, ...]) -> Metric:
    """After failures and by hand, of all that are listed under a name; a start that is asked for anew is none."""
    family = CounterMetricFamily(
        "launchdeck_model_restarts", "How often a model was started again under its name", labels=("model",)
    )
    by_name: Counter[str] = Counter()
    for deployment in deployments:
        by_name[deployment.plan.model_id] += deployment.restarts
    for model, restarts in by_name.items():
        family.add_metric((model,), restarts)
    return family


def _deployment_metrics(deployments: tuple[Deployment, ...]) -> Iterator[Metric]:
    state = GaugeMetricFamily(
        "launchdeck_deployment_state", "1 for the state it is in", labels=(*_MODEL_LABELS, "state")
    )
    loading = GaugeMetricFamily(
        "launchdeck_deployment_loading_seconds", "From the launch to ready", labels=_MODEL_LABELS
    )
    progress = GaugeMetricFamily("launchdeck_deployment_progress_ratio", "Of loading", labels=_MODEL_LABELS)
    for deployment in deployments:
        labels = (deployment.id, deployment.plan.model_id)
        for one in State:
            state.add_metric((*labels, str(one)), deployment.state is one)
        if deployment.ready_at_s is not None:
            loading.add_metric(labels, deployment.ready_at_s - deployment.created_at_s)
        if deployment.progress is not None:
            progress.add_metric(labels, deployment.progress)
    yield from (state, loading, progress)


def _memory_metrics(deployments: tuple[Deployment, ...]) -> Iterator[Metric]:
    labels = (*_MODEL_LABELS, "device", "kind")
    predicted = GaugeMetricFamily("launchdeck_deployment_predicted_bytes", "Memory as planned", labels=labels)
    applied = GaugeMetricFamily("launchdeck_deployment_applied_bytes", "Buffers as the engine says", labels=labels)
    vram = GaugeMetricFamily("launchdeck_deployment_vram_bytes", "GPU memory as measured", labels=_MODEL_LABELS)
    rss = GaugeMetricFamily("launchdeck_deployment_resident_bytes", "RAM as measured", labels=_MODEL_LABELS)
    for deployment in deployments:
        model = (deployment.id, deployment.plan.model_id)
        for device in (*deployment.plan.estimate.devices, deployment.plan.estimate.host):
            for kind in ("weights", "kv", "compute", "overhead"):
                predicted.add_metric((*model, device.device, kind), getattr(device, f"{kind}_bytes"))
        for name, kind in dict.fromkeys((buffer.device, buffer.kind) for buffer in deployment.applied.buffers):
            applied.add_metric((*model, name, kind), deployment.applied.device_bytes(name, kind))
        if deployment.vram_bytes is not None:
            vram.add_metric(model, deployment.vram_bytes)
        if deployment.rss_bytes is not None:
            rss.add_metric(model, deployment.rss_bytes)
    yield from (predicted, applied, vram, rss)


async def metrics(backend: Backend, _request: Request) -> ASGIApp:
    """The text of all metrics, from a registry of our own."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(LaunchdeckCollector(backend))
    return Response(generate_latest(registry), media_type=MEDIA_TYPE)
