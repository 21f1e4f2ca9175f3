"""What was asked, predicted, applied and measured, line by line: the text of the details table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from launchdeck.ui import deployment_text as words
from launchdeck.ui.format import count, gib_with_unit
from launchdeck.ui.i18n import tr

if TYPE_CHECKING:
    from launchdeck.domain.deployment import Deployment
    from launchdeck.domain.plan import DeviceEstimate


@dataclass(frozen=True, slots=True)
class DetailRow:
    """One line. Empty: there is nothing to say. `agrees` tells whether what was asked was applied, None if untold."""

    label: str
    asked: str = ""
    predicted: str = ""
    applied: str = ""
    measured: str = ""
    agrees: bool | None = None


def detail_rows(deployment: Deployment) -> tuple[DetailRow, ...]:
    """All lines: the launch's own numbers, then every device, then the host."""
    plan = deployment.plan
    rows = [_layers(deployment), _context(deployment), _slots(deployment)]
    for place in range(len(plan.estimate.devices)):
        rows += _device(deployment, place)
    if len(plan.estimate.devices) > 1:
        rows.append(_all_devices(deployment))
    return (*rows, *_host(deployment))


def _layers(deployment: Deployment) -> DetailRow:
    layers = deployment.plan.layers
    applied = words.applied_layers(deployment)
    return DetailRow(
        tr("Layers on GPUs"),
        asked=words.layers_asked(layers.asked),
        predicted=f"{layers.resolved}/{layers.total}",
        applied="" if applied is None else f"{applied}/{layers.total}",
        agrees=None if applied is None else applied == layers.resolved,
    )


def _context(deployment: Deployment) -> DetailRow:
    plan, applied = deployment.plan, deployment.applied.n_ctx
    asked = plan.request.n_ctx
    return DetailRow(
        tr("Context"),
        asked=tr("auto") if asked is None else count(asked),
        predicted=count(plan.n_ctx),
        applied="" if applied is None else count(applied),
        agrees=None if applied is None else applied == plan.n_ctx,
    )


def _slots(deployment: Deployment) -> DetailRow:
    asked, applied = deployment.plan.request.n_parallel, deployment.applied.n_slots
    return DetailRow(
        tr("Slots"),
        asked=str(asked),
        applied="" if applied is None else str(applied),
        agrees=None if applied is None else applied == asked,
    )


def _device(deployment: Deployment, place: int) -> list[DetailRow]:
    plan = deployment.plan
    predicted = plan.estimate.devices[place]
    label = words.device_label(plan, place)
    names = set(plan.device_names[place : place + 1])
    alone = len(plan.estimate.devices) == 1
    measured = deployment.vram_bytes if alone else None
    return [
        *_parts(deployment, label, predicted, names),
        DetailRow(
            tr("Total on {device}", device=label),
            predicted=gib_with_unit(predicted.total_bytes, 2),
            measured="" if measured is None else gib_with_unit(measured, 2),
        ),
    ]


def _all_devices(deployment: Deployment) -> DetailRow:
    return DetailRow(
        tr("Total on all GPUs"),
        predicted=gib_with_unit(words.predicted_bytes(deployment.plan), 2),
        measured="" if deployment.vram_bytes is None else gib_with_unit(deployment.vram_bytes, 2),
    )


def _host(deployment: Deployment) -> list[DetailRow]:
    host = deployment.plan.estimate.host
    names = {buffer.device for buffer in deployment.applied.buffers if words.is_host_device(buffer.device)}
    return [
        *_parts(deployment, "RAM", host, names),
        DetailRow(
            tr("Total on {device}", device="RAM"),
            predicted=gib_with_unit(host.total_bytes, 2),
            measured="" if deployment.rss_bytes is None else gib_with_unit(deployment.rss_bytes, 2),
        ),
    ]


def _parts(deployment: Deployment, label: str, predicted: DeviceEstimate, names: set[str]) -> list[DetailRow]:
    """Weights, KV cache and compute buffers of one device, which the engine may call by several `names`."""
    request = deployment.plan.request
    kv_types = sorted({request.cache_type_k, request.cache_type_v})
    parts = (
        ("weights", tr("Weights on {device}", device=label), "", predicted.weights_bytes),
        ("kv", tr("KV cache on {device}", device=label), "/".join(kv_types), predicted.kv_bytes),
        ("compute", tr("Compute buffers on {device}", device=label), "", predicted.compute_bytes),
    )
    return [
        DetailRow(text, asked=asked, predicted=gib_with_unit(size, 2), applied=_applied(deployment, kind, names))
        for kind, text, asked, size in parts
        if size or _applied(deployment, kind, names)
    ]


def _applied(deployment: Deployment, kind: str, names: set[str]) -> str:
    sizes = [b.size_bytes for b in deployment.applied.buffers if b.kind == kind and b.device in names]
    return gib_with_unit(sum(sizes), 2) if sizes else ""
