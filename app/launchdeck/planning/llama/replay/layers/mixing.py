"""How a layer lets tokens look at each other: by attention, by a recurrent part, or by both."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from launchdeck.planning.llama.replay.layers.attention import attention
from launchdeck.planning.llama.replay.layers.attention_output import (
    OUTPUT_IN_RAM,
    copy_of_output,
    gated_by_matrix,
    rotated_back,
)
from launchdeck.planning.llama.replay.layers.biased_attention import Bias, biased_attention
from launchdeck.planning.llama.replay.layers.delta_net import delta_net
from launchdeck.planning.llama.replay.layers.latent_attention import latent_attention
from launchdeck.planning.llama.replay.layers.recurrent import Scanned, fetch, gated, scanned
from launchdeck.planning.llama.replay.layers.short_convolution import convolved, joined_before_convolution
from launchdeck.planning.llama.replay.layers.unfolded_attention import unfolded_attention
from launchdeck.planning.llama.replay.program import Fetch, Place

if TYPE_CHECKING:
    from collections.abc import Callable

    from launchdeck.planning.llama.replay.layer import Layer
    from launchdeck.planning.llama.replay.steps import Steps

_FLOAT_BYTES = 4


def mixed(layer: Layer, steps: Steps, entering: str) -> Callable[[], str]:
    """Attend or scan; what is returned projects the output, up to what is added to what went past it."""
    block, work, place = layer.block, layer.work, layer.place
    if block.is_delta_net:
        return partial(delta_net, steps, block, work, entering, place, fused=layer.fuses)
    if block.has("shortconv.conv"):
        joined, projected = joined_before_convolution(steps, block, work, entering, place)
        _fetch_after_mixing(layer, steps)
        return partial(convolved, steps, block, work, joined, projected)
    if block.is_recurrent:
        scan = scanned(steps, block, work, entering, place)
        _fetch_after_mixing(layer, steps, scan)
        return partial(_gated, layer, steps, scan)
    output = attended(layer, steps, entering)
    _fetch_after_mixing(layer, steps)
    return partial(put_together, layer, steps, output)


def attended(layer: Layer, steps: Steps, entering: str) -> str:
    """Attend; the result is the heads' output."""
    block, work = layer.block, layer.work
    if block.is_biased:
        return biased_attention(steps, block, work, entering, layer=layer.index, bias=_bias(layer))
    if block.latent_rank:
        return latent_attention(steps, block, work, entering, offloaded=layer.place is Place.OFFLOADED)
    if block.has("attn_kv_b"):
        return unfolded_attention(steps, block, work, entering)
    output = attention(steps, block, work, entering, in_ram=_attends_in_ram(layer))
    if output == OUTPUT_IN_RAM and layer.side_by_side:
        steps.store(entering)  # the host feeds forward as well
    return gated_by_matrix(steps, block, work, output, entering) if block.has("attn_gate") else output


def put_together(layer: Layer, steps: Steps, output: str) -> str:
    """Project the output of all heads into one result."""
    block, size = layer.block, layer.whole_bytes
    if output and not (block.latent_rank or block.has("attn_gate") or block.gates_heads):
        output = rotated_back(steps, block, layer.work, output)
    if block.has("attn_sub_norm"):
        heads = _FLOAT_BYTES * layer.work.tokens * block.depth("attn_output")
        output = layer.normed(steps, "attn_sub_norm", output, heads, in_place=not layer.work.flash_attention)
    copy = copy_of_output(block, layer.work, output)
    reads = (output,) if output else ()
    result = steps.add(size, *reads, inputs=(*block.weight("attn_output"), *copy))
    return steps.change(size, result, block.scale("attn_output"), block.bias("attn_output"))


def attended_and_scanned(layer: Layer, steps: Steps, entering: str, before: str) -> str:
    """Add up both, and what entered, as Falcon-H1 does; the scan comes before the output is projected."""
    whole = layer.whole_bytes
    output = attended(layer, steps, entering)
    if layer.place is Place.OFFLOADED:
        steps.end_split()
    else:
        fetch(steps, layer.block, layer.work)
    entering = layer.normed(steps, "attn_norm", before, whole)
    scan = scanned(steps, layer.block, layer.work, entering, layer.place)
    result = put_together(layer, steps, output)
    result = steps.add(whole, result, _gated(layer, steps, scan), in_place=True)
    return steps.add(whole, result, before, in_place=True)


def fetch_ahead(layer: Layer, steps: Steps, scan: Scanned | None = None) -> None:
    """Fetch the state for the next recurrent layer before this one comes to its end."""
    if layer.fetch is Fetch.HERE:
        fetch(steps, layer.block, layer.work)
    elif layer.fetch is Fetch.THERE and scan:
        steps.end_split(scan.projected)
    elif layer.fetch and not (layer.fetch is Fetch.THERE and layer.block.adds_after_experts):
        steps.end_split()


def _fetch_after_mixing(layer: Layer, steps: Steps, scan: Scanned | None = None) -> None:
    """Experts do not wait for anything: with them it is they after which the next state is fetched."""
    if not layer.block.has_experts:
        fetch_ahead(layer, steps, scan)


def _gated(layer: Layer, steps: Steps, scan: Scanned) -> str:
    gate_is_copied = layer.fetch is Fetch.THERE and not layer.block.has_experts
    return gated(steps, layer.block, layer.work, scan, place=layer.place, gate_is_copied=gate_is_copied)


def _bias(layer: Layer) -> Bias:
    if layer.place is Place.OFFLOADED and layer.block.reads_cache:
        return Bias.IN_RAM_WITH_CACHE
    if layer.place is not Place.OWN:
        return Bias.IN_RAM
    if layer.block.has("attn_rel_b"):
        return Bias.HERE
    return Bias.ON_ANOTHER_GPU if layer.bias_is_elsewhere else Bias.HERE


def _attends_in_ram(layer: Layer) -> bool:
    """A device attends if it does the next thing with a weight, or fetches a state after it. Where the cache is in RAM
    that is the host, too, if the next thing is for a few results.
    """
    if layer.place is not Place.OFFLOADED:
        return False
    block = layer.block
    feeds_few = layer.ends_early and layer.side_by_side and block.sum_of_parts.startswith("f")
    fetches = block.is_recurrent or (layer.fetch is Fetch.IN_RAM and not block.has_experts)
    return fetches or feeds_few
