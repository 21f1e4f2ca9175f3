"""A whole layer, step by step, as its weights have it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from launchdeck.planning.llama.replay.layers.biased_attention import cross_attention
from launchdeck.planning.llama.replay.layers.feed_forward import dense, feed_forward, routed
from launchdeck.planning.llama.replay.layers.layer_embedding import selected_embeddings, with_layer_embedding
from launchdeck.planning.llama.replay.layers.mixing import (
    attended,
    attended_and_scanned,
    fetch_ahead,
    mixed,
    put_together,
)
from launchdeck.planning.llama.replay.layers.recurrent import fetch, gate_for_another
from launchdeck.planning.llama.replay.program import Fetch
from launchdeck.planning.llama.replay.steps import ENTERING, Steps, backend_copy

if TYPE_CHECKING:
    from launchdeck.planning.llama.replay.layer import Layer
    from launchdeck.planning.llama.replay.layers.feed_forward import Routed

_FLOAT_BYTES = 4
_PARTS = ("past", "experts")


def layer_steps(layer: Layer) -> Steps:
    """Write down a layer: norms before each part, after each part, or one for both side by side; or one part alone."""
    steps, block = Steps(), layer.block
    _begin(layer, steps)
    selected = selected_embeddings(layer, steps) if block.has("per_layer_model_proj") else ""
    before = entering = _entered(layer, steps)
    norm = "attn_norm_2" if block.has("attn_norm_2") else "attn_norm"
    if block.has(norm) or block.norms_plainly:
        entering = layer.normed(steps, norm, before, layer.whole_bytes)
    if not block.feeds_forward:
        result = _added(layer, steps, layer.cut(steps, mixed(layer, steps, entering)()), layer.cut(steps, before))
    elif not block.mixes:
        result = steps.add(layer.row_bytes, _fed(layer, steps, entering), before, in_place=True)
    elif layer.side_by_side:
        result = _added_up(layer, steps, entering, before)
    else:
        result = _in_turn(layer, steps, entering, before)
    if layer.ends_early or not result:
        return steps
    if block.has("inp_gate"):
        result = with_layer_embedding(layer, steps, result, before, selected)
    result = steps.change(layer.row_bytes, result, block.weight("layer_output_scale"))
    result = layer.normed_if_named(steps, "layer_output_norm", result, layer.row_bytes)
    if layer.gives_results:
        steps.add(_FLOAT_BYTES * layer.work.outputs * layer.n_embd, result, inputs=layer.places_of_results)
    return steps


def _begin(layer: Layer, steps: Steps) -> None:
    """What else this GPU does before anything enters."""
    if layer.first.fetches:
        fetch(steps, layer.block, layer.work)
    if layer.first.gate_of:
        gate_for_another(steps, layer.first.gate_of, layer.work)
    elif layer.first.ends_split:
        steps.end_split()


def _entered(layer: Layer, steps: Steps) -> str:
    """What enters, added up of what another GPU made, or of what is added to embeddings."""
    whole = layer.whole_bytes
    if layer.first.adds_up:
        return steps.add(whole, *_PARTS, inputs=sum((backend_copy(part, whole) for part in _PARTS), ()), in_place=True)
    entering = steps.add(whole, ENTERING, in_place=True) if layer.scales else ENTERING
    if layer.added is None or not layer.block.has("token_embd_norm"):
        return entering
    if "kinds" in layer.added:
        entering = steps.add(whole, entering, "kinds", in_place=True)
    if "positions" in layer.added:
        entering = steps.add(whole, "positions", entering, in_place=True)
    return layer.normed(steps, "token_embd_norm", entering, whole)


def _in_turn(layer: Layer, steps: Steps, entering: str, before: str) -> str:
    """The feed-forward part goes on with what the part before and what went past it add up to."""
    chosen = None
    if layer.block.attends and layer.block.is_recurrent:
        past = layer.cut(steps, attended_and_scanned(layer, steps, entering, before))
    else:
        put_results_together = mixed(layer, steps, entering)
        if layer.block.routes_first and not layer.ends_early:
            chosen = _routed(layer, steps, before)
        past = layer.cut(steps, before) if layer.block.adds_to_entering else ""
        result = put_results_together()
        if layer.block.encoded:
            before = steps.add(layer.whole_bytes, result, before, in_place=True)
            result = _crossed(layer, steps, before)
        result = layer.cut(steps, result)
        if layer.has_norms_after:
            result = layer.normed(steps, "post_attention_norm", result, layer.row_bytes, in_place=True)
        past = _added(layer, steps, result, past or layer.cut(steps, before))
    return past if layer.ends_early else _past_feed_forward(layer, steps, past, chosen)


def _past_feed_forward(layer: Layer, steps: Steps, past: str, chosen: Routed | None) -> str:
    """The layer's result; nothing where it is left to another GPU to add it up."""
    row, block = layer.row_bytes, layer.block
    past = layer.normed_if_named(steps, "attn_output_norm", past, row)
    if block.has("pre_ffw_norm_2"):
        result = _fed_twice(layer, steps, past)
    else:
        result = layer.normed(steps, layer.norm_before, past, row) if layer.norm_before else past
        result = _fed(layer, steps, result, chosen)
    if layer.fetch is Fetch.THERE and block.adds_after_experts:
        steps.end_split(past, result)
        return ""
    result = layer.normed_if_named(steps, "post_ffw_norm", result, row, in_place=True)
    return steps.add(row, *((past, result) if block.adds_to_past else (result, past)), in_place=True)


def _added(layer: Layer, steps: Steps, result: str, past: str) -> str:
    """Both in the place of the result, or of what went past it where that comes first or the result is looked at in
    another shape.
    """
    row, block = layer.row_bytes, layer.block
    if not layer.cuts and (block.is_delta_net or block.has("ssm_x") or block.has("shortconv.conv")):
        return steps.add(row, result, past, in_place_of=past)
    return steps.add(row, *((past, result) if block.adds_to_entering else (result, past)), in_place=True)


def _added_up(layer: Layer, steps: Steps, entering: str, before: str) -> str:
    """What is made side by side, in its order."""
    output = attended(layer, steps, entering)
    row, past = layer.row_bytes, ""
    made: list[str] = []
    for sign in layer.block.sum_of_parts:
        if sign == "+":
            second, first = made.pop(), made.pop()
            made.append(steps.add(row, first, second, in_place=True))
        elif sign == "a":
            made.append(layer.cut(steps, put_together(layer, steps, output)))
        elif sign == "p":
            made.append(past or layer.cut(steps, before))
        elif layer.ends_early:
            made.append(steps.add(row))
        elif layer.block.feeds_past:
            past = layer.cut(steps, before)
            made.append(_fed(layer, steps, layer.normed(steps, "ffn_norm", past, row)))
        else:
            made.append(_fed(layer, steps, _beside(layer, steps, entering, before)))
    return made.pop()


def _beside(layer: Layer, steps: Steps, entering: str, before: str) -> str:
    """What goes into the feed-forward part: the same as into the attention, or with a norm of its own."""
    if layer.block.has("attn_norm_2"):
        entering = layer.normed(steps, "attn_norm", before, layer.whole_bytes)
    return layer.cut(steps, entering)


def _crossed(layer: Layer, steps: Steps, before: str) -> str:
    """Attend to what was encoded."""
    normed = layer.normed(steps, "cross_attn_norm", before, layer.whole_bytes)
    output = cross_attention(steps, layer.block, layer.work, normed, layer.n_embd)
    return steps.add(layer.whole_bytes, output, inputs=layer.block.weight("cross_attn_output"))


def _routed(layer: Layer, steps: Steps, before: str) -> Routed:
    """To which experts what entered goes, before the attention's results are put together."""
    row = _FLOAT_BYTES * layer.block.width("ffn_gate_inp")
    scores = steps.add(row * layer.work.tokens, before, inputs=layer.block.weight("ffn_gate_inp"))
    if layer.cuts:
        scores = steps.add(row * layer.rows, scores, inputs=layer.places_of_results)
    return routed(steps, layer.block, layer.routing, scores, layer.rows)


def _fed_twice(layer: Layer, steps: Steps, past: str) -> str:
    """By experts, and by a part that is for all tokens, each with norms before and after it."""
    block, row = layer.block, layer.row_bytes
    scored = steps.change(row, steps.add(row, past), block.scale("ffn_gate_inp"))
    scores = _FLOAT_BYTES * layer.rows * block.width("ffn_gate_inp")
    scored = steps.add(scores, scored, inputs=block.weight("ffn_gate_inp"))
    chosen = routed(steps, block, layer.routing, scored, layer.rows)
    result = _fed(layer, steps, layer.normed(steps, "pre_ffw_norm_2", past, row), chosen)
    shared = dense(steps, block, layer.normed(steps, "ffn_norm", past, row), layer.n_embd, layer.rows)
    shared = layer.normed(steps, "post_ffw_norm_1", shared, row, in_place=True)
    result = layer.normed(steps, "post_ffw_norm_2", result, row, in_place=True)
    return steps.add(row, shared, result, in_place=True)


def _fed(layer: Layer, steps: Steps, entering: str, chosen: Routed | None = None) -> str:
    return feed_forward(
        steps,
        layer.block,
        layer.routing,
        entering,
        layer.n_embd,
        layer.rows,
        chosen,
        after_experts=partial(fetch_ahead, layer, steps),
    )
