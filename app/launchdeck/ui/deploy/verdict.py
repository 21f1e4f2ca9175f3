"""Whether a plan fits, in one word and one sentence."""

from __future__ import annotations

from typing import TYPE_CHECKING

from launchdeck.domain.plan import Verdict
from launchdeck.ui.kit.deployment_text import device_label
from launchdeck.ui.kit.format import count, gib, gib_with_unit
from launchdeck.ui.kit.i18n import tr

if TYPE_CHECKING:
    from launchdeck.domain.plan import LaunchPlan


def chip(verdict: Verdict) -> tuple[str, str]:
    """The word with its sign, and the state that gives it its colour."""
    return {
        Verdict.FITS: (f"✓ {tr('fits')}", "ok"),
        Verdict.TIGHT: (f"! {tr('tight')}", "warn"),
        Verdict.DOES_NOT_FIT: (f"✗ {tr('does not fit')}", "bad"),
        Verdict.UNKNOWN: (f"? {tr('unknown')}", ""),
    }[verdict]


def sentence(plan: LaunchPlan) -> str:
    """What the word means for this plan."""
    verdict, host = plan.verdict, plan.estimate.host
    if host.fits is False:
        return tr(
            "Needs {need} GiB of RAM, {free} GiB are free.", need=gib(host.total_bytes), free=gib(host.free_bytes)
        )
    if verdict is Verdict.UNKNOWN:
        return tr("How much memory is free cannot be measured.")
    if verdict is Verdict.FITS:
        return _where(plan)
    return " ".join((*_short_devices(plan), _layers_that_fit(plan)))


def sign(verdict: Verdict) -> str:
    """The sign alone, for where the word stands beside it."""
    return chip(verdict)[0][0]


def context_sentence(plan: LaunchPlan, n_ctx: int) -> str:
    """The largest context that would fit with the same layers."""
    if not plan.layers.resolved:
        return tr("context up to {context}", context=count(n_ctx))
    if plan.layers.resolved == plan.layers.total:
        return tr("context up to {context} with all layers", context=count(n_ctx))
    return tr("context up to {context} with {layers} layers", context=count(n_ctx), layers=plan.layers.resolved)


def _short_devices(plan: LaunchPlan) -> list[str]:
    """How much is missing, or left, on every device that has too little."""
    sentences = []
    for place, device in enumerate(plan.estimate.devices):
        name, left_bytes = device_label(plan, place), (device.free_bytes or 0) - device.total_bytes
        match device.verdict(plan.margin_bytes):
            case Verdict.DOES_NOT_FIT:
                sentences.append(tr("{device} lacks {size}.", device=name, size=gib_with_unit(-left_bytes)))
            case Verdict.TIGHT:
                sentences.append(tr("{device} has {size} left.", device=name, size=gib_with_unit(left_bytes, 2)))
    return sentences


def _layers_that_fit(plan: LaunchPlan) -> str:
    layers = plan.layers
    if not layers.largest_that_fits:
        return tr("Not one layer fits. A smaller context, or the CPU, would do.")
    return tr("{count} of {total} layers fit well.", count=layers.largest_that_fits, total=layers.total)


def _where(plan: LaunchPlan) -> str:
    layers = plan.layers
    if not layers.resolved:
        return tr("Runs on the CPU.")
    if layers.resolved == layers.total:
        return tr("All {total} layers on the GPU.", total=layers.total)
    return tr("{count} of {total} layers on the GPU, the rest on the CPU.", count=layers.resolved, total=layers.total)
