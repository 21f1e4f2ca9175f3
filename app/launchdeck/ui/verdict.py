"""Whether a plan fits, in one word and one sentence, and what would fit instead."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from enum import Enum, auto
from typing import TYPE_CHECKING

from launchdeck.domain.errors import Fix, LaunchdeckError
from launchdeck.domain.text import Message
from launchdeck.ui.format import count, gib
from launchdeck.ui.i18n import tr

if TYPE_CHECKING:
    from launchdeck.domain.plan import LaunchPlan
    from launchdeck.domain.request import ModelLoadRequest

Preview = Callable[["ModelLoadRequest"], "LaunchPlan | None"]

CONTEXT_STEP = 256


class Verdict(Enum):
    FITS = auto()
    TIGHT = auto()
    DOES_NOT_FIT = auto()
    UNKNOWN = auto()


def judge(plan: LaunchPlan) -> Verdict:
    """Tight: it fits, but into the margin that "auto" leaves free."""
    answers = [device.fits for device in plan.estimate.devices]
    if False in answers or plan.estimate.host.fits is False:
        return Verdict.DOES_NOT_FIT
    if None in answers:
        return Verdict.UNKNOWN
    largest = plan.layers.largest_that_fits
    if plan.estimate.devices and largest is not None and plan.layers.resolved > largest:
        return Verdict.TIGHT
    return Verdict.FITS


def chip(verdict: Verdict) -> tuple[str, str]:
    """The word with its sign, and the state that gives it its colour."""
    return {
        Verdict.FITS: (f"✓ {tr('fits')}", "ok"),
        Verdict.TIGHT: (f"! {tr('tight')}", "warn"),
        Verdict.DOES_NOT_FIT: (f"✗ {tr('does not fit')}", "bad"),
        Verdict.UNKNOWN: (f"? {tr('unknown')}", ""),
    }[verdict]


def sentence(plan: LaunchPlan, verdict: Verdict) -> str:
    """What the word means for this plan."""
    layers, host = plan.layers, plan.estimate.host
    if host.fits is False:
        return tr(
            "Needs {need} GiB of RAM, {free} GiB are free.", need=gib(host.total_bytes), free=gib(host.free_bytes)
        )
    if verdict is Verdict.UNKNOWN:
        return tr("How much memory is free cannot be measured.")
    if verdict is Verdict.FITS:
        return _where(plan)
    if not layers.largest_that_fits:
        return tr("Not one layer fits. A smaller context, or the CPU, would do.")
    return tr("{count} of {total} layers fit well.", count=layers.largest_that_fits, total=layers.total)


def remedy(plan: LaunchPlan, verdict: Verdict) -> Fix | None:
    """The click that makes it fit."""
    largest = plan.layers.largest_that_fits
    if verdict not in {Verdict.TIGHT, Verdict.DOES_NOT_FIT} or not largest or largest >= plan.layers.resolved:
        return None
    return Fix(Message("Use {count} layers", count=largest), (("n_gpu_layers", largest),))


def context_sentence(plan: LaunchPlan, n_ctx: int) -> str:
    """The largest context that would fit with the same layers."""
    if not plan.layers.resolved:
        return tr("up to {context} context", context=count(n_ctx))
    if plan.layers.resolved == plan.layers.total:
        return tr("up to {context} context with all layers", context=count(n_ctx))
    return tr("up to {context} context with {layers} layers", context=count(n_ctx), layers=plan.layers.resolved)


def largest_context(plan: LaunchPlan, preview: Preview) -> int | None:
    """The largest context that fits with the plan's layers, found by halving; None where the model tells no limit.

    Costs about ten previews: not for every tick of a slider.
    """
    limit = plan.model.context_length
    if limit is None or judge(plan) is not Verdict.FITS:
        return None
    request = replace(plan.request, n_gpu_layers=plan.layers.resolved)

    def fits(n_ctx: int) -> bool:
        try:
            tried = preview(replace(request, n_ctx=n_ctx))
        except LaunchdeckError:
            return False
        return tried is not None and judge(tried) is Verdict.FITS

    if fits(limit):
        return limit
    low, high = plan.n_ctx // CONTEXT_STEP, limit // CONTEXT_STEP + 1  # `low` fits, `high` does not
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle * CONTEXT_STEP) else (low, middle)
    return max(low * CONTEXT_STEP, plan.n_ctx)


def _where(plan: LaunchPlan) -> str:
    layers = plan.layers
    if not layers.resolved:
        return tr("Runs on the CPU.")
    if layers.resolved == layers.total:
        return tr("All {total} layers on the GPU.", total=layers.total)
    return tr("{count} of {total} layers on the GPU, the rest on the CPU.", count=layers.resolved, total=layers.total)
