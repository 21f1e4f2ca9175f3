"""What was asked, predicted, applied and measured, line by line: the text of the details table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from launchdeck.domain.request import FlashAttention
from launchdeck.domain.units import GIB
from launchdeck.engines.context import longest_request
from launchdeck.ui.kit import deployment_text as words
from launchdeck.ui.kit.format import count, gib_with_unit
from launchdeck.ui.kit.i18n import tr

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
    rows += [_flash_attention(deployment), _cache_types(deployment), *_devices(deployment)]
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
    """Where one slot cannot use all of it, that is said behind it, and is right where the model can no more."""
    plan, applied, slot = deployment.plan, deployment.applied.n_ctx, deployment.applied.n_ctx_slot
    asked, longest = plan.request.n_ctx, longest_request(plan.n_ctx, plan.request, plan.model, plan.engine)
    is_shorter = applied is not None and slot is not None and slot < applied
    told = "" if applied is None else count(applied)
    return DetailRow(
        tr("Context"),
        asked=tr("auto") if asked is None else count(asked),
        predicted=count(plan.n_ctx),
        applied=tr("{context}, {slot} a slot", context=told, slot=count(slot)) if is_shorter else told,
        agrees=None if applied is None else applied == plan.n_ctx and (slot is None or slot >= longest),
    )


def _slots(deployment: Deployment) -> DetailRow:
    """`predicted` where the engine was told another number than was asked for."""
    asked, applied = deployment.plan.request.n_parallel, deployment.applied.n_slots
    told = asked if deployment.plan.n_slots is None else deployment.plan.n_slots
    return DetailRow(
        tr("Slots"),
        asked=str(asked),
        predicted="" if told == asked else str(told),
        applied="" if applied is None else str(applied),
        agrees=None if applied is None else applied == told,
    )


def _flash_attention(deployment: Deployment) -> DetailRow:
    words_of = {
        FlashAttention.AUTO: tr("auto"),
        FlashAttention.ON: tr("on"),
        FlashAttention.OFF: tr("off"),
    }
    asked, applied = deployment.plan.request.flash_attention, deployment.applied.flash_attention
    wanted = {FlashAttention.ON: True, FlashAttention.OFF: False}.get(asked)
    predicted = deployment.plan.flash_attention if wanted is None else wanted
    return DetailRow(
        tr("Flash attention"),
        asked=words_of[asked],
        predicted=words_of[FlashAttention.OFF if predicted is False else FlashAttention.ON],
        applied="" if applied is None else words_of[FlashAttention.ON if applied else FlashAttention.OFF],
        agrees=None if applied is None or wanted is None else applied is wanted,
    )


def _cache_types(deployment: Deployment) -> DetailRow:
    request, applied = deployment.plan.request, deployment.applied.cache_types
    asked = (request.cache_type_k, request.cache_type_v)
    return DetailRow(
        tr("KV cache, K, V"),
        asked=", ".join(asked),
        applied="" if applied is None else ", ".join(applied),
        agrees=None if applied is None else applied == asked,
    )


def _devices(deployment: Deployment) -> list[DetailRow]:
    """The engine's own names, where it was told any."""
    options = dict(zip(deployment.plan.argv, deployment.plan.argv[1:], strict=False))
    asked, applied = options.get("--device"), deployment.applied.devices
    if asked is None or asked == "none":
        asked_names: tuple[str, ...] = ()
    else:
        asked_names = tuple(asked.split(","))
    if not asked_names and not applied:
        return []
    agrees = applied == asked_names if applied else None
    return [DetailRow(tr("Devices"), asked=", ".join(asked_names), applied=", ".join(applied), agrees=agrees)]


def _device(deployment: Deployment, place: int) -> list[DetailRow]:
    plan = deployment.plan
    predicted = plan.estimate.devices[place]
    label = words.deployment_device(deployment, place)
    names = set(plan.device_names[place : place + 1])
    return [
        *_parts(deployment, label, predicted, names),
        DetailRow(
            tr("Total on {device}", device=label),
            predicted=gib_with_unit(predicted.total_bytes, 2),
            applied=_compared(_applied_bytes(deployment, None, names), None),
            measured=_compared(_measured_bytes(deployment, place), predicted.total_bytes),
        ),
    ]


def _measured_bytes(deployment: Deployment, place: int) -> int | None:
    """What the driver counts on this GPU; all that it counts where there is only this one."""
    gpus = deployment.plan.gpus
    if place >= len(gpus):
        return None
    alone = deployment.vram_bytes if len(deployment.plan.estimate.devices) == 1 else None
    return dict(deployment.vram_by_gpu).get(gpus[place].uuid, alone)


def _all_devices(deployment: Deployment) -> DetailRow:
    return DetailRow(
        tr("Total on all GPUs"),
        predicted=gib_with_unit(words.predicted_bytes(deployment.plan), 2),
        measured=_compared(deployment.vram_bytes, words.predicted_bytes(deployment.plan)),
    )


def _host(deployment: Deployment) -> list[DetailRow]:
    host = deployment.plan.estimate.host
    names = {buffer.device for buffer in deployment.applied.buffers if words.is_host_device(buffer.device)}
    return [
        *_parts(deployment, "RAM", host, names),
        DetailRow(
            tr("Total on {device}", device="RAM"),
            predicted=gib_with_unit(host.total_bytes - host.overhead_bytes, 2),  # prompts come with time
            measured=_compared(deployment.rss_bytes, None),
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
        DetailRow(text, asked=asked, predicted=gib_with_unit(size, 2), applied=_compared(applied, size))
        for kind, text, asked, size in parts
        for applied in (_applied_bytes(deployment, kind, names),)
        if size or applied is not None
    ]


def _applied_bytes(deployment: Deployment, kind: str | None, names: set[str]) -> int | None:
    """The engine's buffers of this kind (None: all) on these devices; None before it told any."""
    buffers = [b for b in deployment.applied.buffers if b.device in names and kind in {None, b.kind}]
    return sum(b.size_bytes for b in buffers) if buffers else None


def _compared(size_bytes: int | None, predicted_bytes: int | None) -> str:
    """The size, and how much more or less it is than predicted, where that can be seen in it."""
    if size_bytes is None:
        return ""
    more_bytes = 0 if predicted_bytes is None else size_bytes - predicted_bytes
    difference = f"{more_bytes / GIB:+.2f}".replace("-", "−")
    return gib_with_unit(size_bytes, 2) if difference[1:] == "0.00" else f"{gib_with_unit(size_bytes, 2)} {difference}"
