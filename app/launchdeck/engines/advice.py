"""What would make a launch fit: changed requests, each tried out before it is offered."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from launchdeck.domain.errors import Failure, Fix, LaunchdeckError
from launchdeck.domain.plan import LaunchPlan, Verdict
from launchdeck.domain.request import ALL_LAYERS, ModelLoadRequest
from launchdeck.domain.text import Message
from launchdeck.engines.fixes import AS_MANY_AS_FIT, shorter_context
from launchdeck.engines.llama import prompt_cache
from launchdeck.engines.llama.argv import CONTEXT_STEP

Preview = Callable[[ModelLoadRequest], LaunchPlan | None]

MOST_FIXES = 3
SMALLER_CACHE = "q8_0"
_SMALLEST_CONTEXT = 1024
_CLEARLY = 8  # one eighth less than what has failed


def fixes(plan: LaunchPlan, preview: Preview) -> tuple[Fix, ...]:
    """At most three, the one that costs least first; fewer layers, which nearly always helps, is always among them.

    A model with experts is also helped where it fits with some layers left out. Costs about twenty previews: not for
    every tick of a slider.
    """
    if plan.verdict is Verdict.UNKNOWN:
        return ()
    if plan.verdict is Verdict.FITS:
        return tuple(_experts(plan, preview))
    fewer = tuple(_fewer_layers(plan))
    offers = (_fewer_prompts, _other_gpu, _experts, _smaller_cache, _less_context)
    others = (fix for offer in offers for fix in offer(plan, preview))
    return (*(fix for _, fix in zip(range(MOST_FIXES - len(fewer)), others, strict=False)), *fewer)


def after_failure(plan: LaunchPlan, failure: Failure, preview: Preview) -> tuple[Fix, ...]:
    """The fixes of a launch for which there was too little memory, in numbers.

    What the planner took for fitting did not, so its numbers are taken only where they are clearly less than what was
    tried. On the CPU no number of layers helps, and a fix that the engine itself has given is the best there is.
    """
    given = [fix for fix in failure.fixes if fix.changes != AS_MANY_AS_FIT.changes]
    fewer = list(_fewer_than_tried(plan, preview)) if len(given) < len(failure.fixes) else []
    is_context_known = any(name == "n_ctx" for fix in given for name, _ in fix.changes)
    shorter = [] if is_context_known else list(_shorter_than_tried(plan, preview))
    return (*given, *fewer, *shorter)


def useful(plan: LaunchPlan, fixes: Sequence[Fix]) -> tuple[Fix, ...]:
    """Those that change what was launched; one without changes starts it again, which may be all that is needed."""
    asked = plan.request
    launched = (asked, replace(asked, n_gpu_layers=plan.layers.resolved))
    return tuple(fix for fix in fixes if not fix.changes or _changed(asked, fix) not in launched)


def _changed(request: ModelLoadRequest, fix: Fix) -> ModelLoadRequest:
    changes: dict[str, Any] = dict(fix.changes)
    return replace(request, **changes)


def _fewer_than_tried(plan: LaunchPlan, preview: Preview) -> Iterator[Fix]:
    tried = plan.layers.resolved
    clearly_less = tried - max(1, tried // _CLEARLY)
    if not plan.request.gpu_uuids or clearly_less < 1:
        return
    try:
        found = preview(replace(plan.request, n_gpu_layers=None))
    except LaunchdeckError:
        found = None
    count = min(clearly_less, found.layers.resolved) if found else clearly_less
    if count >= 1:
        yield Fix(
            Message("Use {count} layers instead of {tried}", count=count, tried=tried), (("n_gpu_layers", count),)
        )


def _shorter_than_tried(plan: LaunchPlan, preview: Preview) -> Iterator[Fix]:
    half = plan.n_ctx // 2 // CONTEXT_STEP * CONTEXT_STEP
    try:
        now = preview(replace(plan.request, n_gpu_layers=plan.layers.resolved))
    except LaunchdeckError:
        return
    has_limit = plan.model.context_length is not None
    n_ctx = min(half, largest_context(now, preview) or 0) if now and has_limit else half
    if n_ctx >= _SMALLEST_CONTEXT:
        yield shorter_context(n_ctx)


def largest_context(plan: LaunchPlan, preview: Preview) -> int | None:
    """The largest context that fits with the plan's layers; None where the model tells no limit, or none fits."""
    own = plan.model.context_length
    limit = None if own is None else max(own, plan.n_ctx)  # what several slots share may be more than one can use
    request = replace(plan.request, n_gpu_layers=plan.layers.resolved)

    def fits(n_ctx: int) -> bool:
        return _fits(preview, replace(request, n_ctx=n_ctx))

    if limit is None:
        return None
    if fits(limit):
        return limit
    known = plan.n_ctx if plan.verdict is Verdict.FITS else 0
    low, high = known // CONTEXT_STEP, (limit if known else plan.n_ctx) // CONTEXT_STEP + 1
    while high - low > 1:  # `low` fits (0: nothing known to), `high` does not
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle * CONTEXT_STEP) else (low, middle)
    return max(low * CONTEXT_STEP, known) or None


def _fewer_prompts(plan: LaunchPlan, preview: Preview) -> Iterator[Fix]:
    """As many as there is room for, where a number of one's own is too large."""
    if prompt_cache.asked_mib(plan.request) and plan.estimate.host.fits is False:
        yield from _if_it_fits(
            plan, preview, Message("Keep as many prompts as fit"), **prompt_cache.unasked(plan.request)
        )


def _other_gpu(plan: LaunchPlan, preview: Preview) -> Iterator[Fix]:
    """The one with the most free memory, which is what the planner takes where the choice is left to it."""
    try:
        found = preview(replace(plan.request, gpu_uuids=None, rpc_workers=(), split=None))
    except LaunchdeckError:
        return
    uuids = found.request.gpu_uuids if found else ()
    if found and uuids and uuids != plan.request.gpu_uuids:
        label = Message("Use GPU {index}", index=found.gpus[0].index)
        yield from _if_it_fits(plan, preview, label, gpu_uuids=uuids, rpc_workers=(), split=None)


def _experts(plan: LaunchPlan, preview: Preview) -> Iterator[Fix]:
    count = plan.layers.fewest_experts_in_ram
    if count and plan.request.n_cpu_moe != count:
        label = Message("All layers, experts of {count} blocks in RAM", count=count)
        yield from _if_it_fits(plan, preview, label, n_gpu_layers=ALL_LAYERS, n_cpu_moe=count)


def _smaller_cache(plan: LaunchPlan, preview: Preview) -> Iterator[Fix]:
    if (plan.request.cache_type_k, plan.request.cache_type_v) == ("f16", "f16"):
        label = Message("KV cache as {name}", name=SMALLER_CACHE)
        yield from _if_it_fits(plan, preview, label, cache_type_k=SMALLER_CACHE, cache_type_v=SMALLER_CACHE)


def _less_context(plan: LaunchPlan, preview: Preview) -> Iterator[Fix]:
    n_ctx = largest_context(plan, preview)
    if n_ctx is not None and _SMALLEST_CONTEXT <= n_ctx < plan.n_ctx:
        yield shorter_context(n_ctx)


def _fewer_layers(plan: LaunchPlan) -> Iterator[Fix]:
    largest = plan.layers.largest_that_fits
    if largest and largest < plan.layers.resolved:
        yield Fix(Message("Use {count} layers", count=largest), (("n_gpu_layers", largest),))


def _if_it_fits(plan: LaunchPlan, preview: Preview, label: Message, **changes: Any) -> Iterator[Fix]:
    """The fix, where the launch with these changes fits. It keeps the number of layers unless it changes it."""
    kept = replace(plan.request, n_gpu_layers=plan.layers.resolved)
    if _fits(preview, replace(kept, **changes)):
        yield Fix(label, tuple(changes.items()))


def _fits(preview: Preview, request: ModelLoadRequest) -> bool:
    try:
        plan = preview(request)
    except LaunchdeckError:
        return False
    return plan is not None and plan.verdict is Verdict.FITS
