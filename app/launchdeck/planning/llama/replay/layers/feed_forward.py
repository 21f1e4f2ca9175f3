"""The feed-forward part of a layer: dense, or with experts.

Source: `build_ffn` and `build_moe_ffn` of llama.cpp (llama-graph.cpp).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from launchdeck.planning.llama.replay.steps import Kind

if TYPE_CHECKING:
    from collections.abc import Callable

    from launchdeck.planning.llama.replay.block import Block
    from launchdeck.planning.llama.replay.steps import Steps

_FLOAT_BYTES = 4

Routed = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Routing:
    """How tokens are given to experts: to how many each, and to how many of how many groups of them.

    Their weights are `softened` among those chosen, `normalised` to a sum of 1, `scaled`; with `weighs_before` what
    goes into the experts is weighed, and not what comes out (Llama 4).
    """

    used: int
    softened: bool
    normalised: bool
    scaled: bool
    weighs_before: bool
    groups: int
    groups_used: int


def feed_forward(
    steps: Steps,
    block: Block,
    routing: Routing,
    entering: str,
    n_embd: int,
    tokens: int,
    chosen: Routed | None = None,
    *,
    after_experts: Callable[[], None],
) -> str:
    """Do all that a layer does to `entering` after its attention. Experts may be `chosen` already."""
    if block.has_experts:
        result = _experts(steps, block, routing, entering, n_embd, tokens, chosen)
        after_experts()
        shared = block.has("ffn_up_shexp")
        return _with_shared_expert(steps, block, entering, result, n_embd, tokens) if shared else result
    return dense(steps, block, entering, n_embd, tokens)


def dense(steps: Steps, block: Block, entering: str, n_embd: int, tokens: int, suffix: str = "") -> str:
    """Feed forward: gate, up and their product; or up alone, changed in its place; or both in one matrix."""
    row, up, down = _FLOAT_BYTES * tokens, f"ffn_up{suffix}", f"ffn_down{suffix}"
    inner = row * block.width(up)

    def matrix(part: str) -> str:
        result = steps.add(inner, entering, inputs=block.weight(part))
        return steps.change(inner, result, block.bias(part), block.scale(part))

    if block.has(f"ffn_gate{suffix}"):
        result = steps.add(inner, matrix(f"ffn_gate{suffix}"), matrix(up))
    elif block.width(up) == 2 * block.depth(down):
        result = steps.add(row * block.depth(down), matrix(up))
    else:
        result = matrix(up)
    if norm := block.weight(f"ffn_sub_norm{suffix}"):
        inner = row * block.depth(down)
        result = steps.change(inner, steps.add(inner, result, in_place=True), norm)
    result = steps.add(row * n_embd, result, inputs=block.weight(down))
    return steps.change(row * n_embd, result, block.bias(down), block.scale(down))


def _experts(
    steps: Steps, block: Block, routing: Routing, entering: str, n_embd: int, tokens: int, routed_before: Routed | None
) -> str:
    row, used = _FLOAT_BYTES * tokens, routing.used
    chosen, shares = routed_before or _router(steps, block, routing, entering, tokens)
    into, weighed = entering, row * used * n_embd
    if routing.weighs_before:
        into = steps.add(weighed, steps.add(weighed, entering), shares, in_place=True)

    def matrix(part: str, entering: str, size: int) -> str:
        result = steps.add(size, entering, chosen, inputs=block.weight(part, Kind.EXPERTS))
        if scale := block.scale("ffn_up_exps" if part == "ffn_gate_up_exps" else part):
            scales = steps.add(row * block.width("ffn_gate_inp"), inputs=scale)
            result = steps.add(size, result, steps.add(row * used, scales, chosen), in_place=True)
        return steps.change(size, result, block.bias(part))

    def inner_matrix(part: str) -> str:
        return matrix(part, into, row * used * block.width(part))

    inner = row * used * block.depth("ffn_down_exps")
    if block.has("ffn_gate_up_exps"):
        result = steps.add(inner, inner_matrix("ffn_gate_up_exps"))
    elif block.has("ffn_gate_exps"):
        result = steps.add(inner, inner_matrix("ffn_gate_exps"), inner_matrix("ffn_up_exps"))
    else:
        result = inner_matrix("ffn_up_exps")
    result = matrix("ffn_down_exps", result, weighed)
    if not routing.weighs_before:
        result = steps.add(weighed, result, shares, in_place=True)
    return steps.add(row * n_embd, result)  # the sum over the experts


def _router(steps: Steps, block: Block, routing: Routing, entering: str, tokens: int) -> Routed:
    scores = _FLOAT_BYTES * tokens * block.width("ffn_gate_inp")
    likely = steps.add(scores, entering, inputs=block.weight("ffn_gate_inp"))
    return routed(steps, block, routing, likely, tokens)


def routed(steps: Steps, block: Block, routing: Routing, likely: str, tokens: int) -> Routed:
    """Choose the experts that every token goes to, and their weights, by how `likely` each of them is."""
    row = _FLOAT_BYTES * tokens
    scores = row * block.width("ffn_gate_inp")
    biased = likely = steps.change(scores, likely, block.bias("ffn_gate_inp"))
    if bias := block.bias("exp_probs_b"):
        biased = steps.add(scores, likely, inputs=bias)
    elif routing.weighs_before:
        likely = steps.add(scores, likely)
    chosen = steps.add(scores, _of_groups(steps, routing, biased, scores, row))  # all of them, sorted
    shares = steps.add(row * routing.used, likely, chosen)
    if routing.softened:
        shares = steps.add(row * routing.used, shares)
    if routing.normalised:
        shares = steps.add(row * routing.used, shares, steps.add(row, shares))
    if routing.scaled:
        shares = steps.add(row * routing.used, shares, in_place=not (routing.softened or routing.normalised))
    return chosen, shares


def _of_groups(steps: Steps, routing: Routing, scores: str, size: int, row: int) -> str:
    """Leave the experts of the groups whose two best are the best."""
    if routing.groups <= 1:
        return scores
    best = steps.add(2 * row * routing.groups, scores, steps.add(size, scores))
    groups = steps.add(row * routing.groups, steps.add(row * routing.groups, best))
    left = steps.add(size // routing.groups * routing.groups_used, scores, groups)
    return steps.add(size, steps.add(size, scores), left, groups, in_place=True)


def _with_shared_expert(steps: Steps, block: Block, entering: str, experts: str, n_embd: int, tokens: int) -> str:
    """The one that every token goes to, in Qwen with a weight of its own."""
    row = _FLOAT_BYTES * tokens
    shared = dense(steps, block, entering, n_embd, tokens, "_shexp")
    if block.has("ffn_gate_inp_shexp"):
        score = steps.add(row, entering, inputs=block.weight("ffn_gate_inp_shexp"))
        weight = steps.add(row, steps.add(row, score), score, in_place=True)
        shared = steps.add(row * n_embd, shared, weight, in_place=True)
    return steps.add(row * n_embd, experts, shared, in_place=True)
