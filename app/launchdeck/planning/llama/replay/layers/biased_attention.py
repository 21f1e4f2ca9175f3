"""Attention of T5: with a bias by the distance of two tokens added to every score, which flash attention cannot do. Its
encoder looks at the batch itself; its decoder at a cache, and then at what was encoded.

The bias is looked up where its table is: each layer has its own, or the first one has it for all. If that is in RAM,
the GPU gets a copy for each layer. If it is on another GPU, scores and values go there, and the output comes back.
Source: `llama_model_t5`, `build_pos_bias` and `build_attn_mha` of llama.cpp.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from launchdeck.planning.llama.replay.allocator import aligned
from launchdeck.planning.llama.replay.layers.attention import (
    attended_each_other,
    mask,
    padded_cache_bytes,
    projected,
    store,
)
from launchdeck.planning.llama.replay.layers.distance_bias import blocks_at_once
from launchdeck.planning.llama.replay.steps import Kind, SplitInput, cached, graph_input

if TYPE_CHECKING:
    from launchdeck.planning.llama.replay.block import Block
    from launchdeck.planning.llama.replay.steps import Steps
    from launchdeck.planning.llama.work import Work

_FLOAT_BYTES = 4
_HALF_BYTES = 2
_BUCKET_BYTES = 4


class Bias(Enum):
    """Where the bias is looked up. An offloaded layer's cache is in RAM as well, and there the decoder scores it."""

    HERE = 0
    IN_RAM = 1
    IN_RAM_WITH_CACHE = 2
    ON_ANOTHER_GPU = 3


def biased_attention(steps: Steps, block: Block, work: Work, entering: str, *, layer: int, bias: Bias) -> str:
    """Make queries, keys and values, the biased scores, and the output.

    Each of the layers looks up the bias in a copy of its own of the distances; of the first layers all are there from
    the beginning. An output made elsewhere is a copy that its GPU keeps, and no result: its name is empty.
    """
    row, cells = _FLOAT_BYTES * work.tokens, work.cells.full if block.encoded else work.tokens
    size = row * cells * block.n_head
    scored = _cache_scored if block.encoded else _batch_scored
    scores, values, read = scored(steps, block, work, entering, size, in_ram=bias is Bias.IN_RAM_WITH_CACHE)
    if bias is Bias.ON_ANOTHER_GPU:
        steps.store(*values, scores)
        return ""
    if bias is Bias.HERE:
        buckets = graph_input(f"buckets {layer}", _BUCKET_BYTES * work.tokens * cells)
        if block.has("attn_rel_b") or layer < blocks_at_once(block.encoded):
            added = steps.add(size, inputs=buckets)
        else:
            added = steps.add(size, steps.add(buckets[0].size))
        added = steps.add(size, added)
    else:
        added = steps.add(size, inputs=(SplitInput(Kind.EXPERTS, "bias", aligned(size)),))
    copied = (SplitInput(Kind.CACHE, scores, aligned(size)),) if bias is Bias.IN_RAM_WITH_CACHE else ()
    scores = steps.add(size, scores, added, inputs=copied, in_place=True)
    scores = steps.add(size, scores, inputs=mask(block, work), in_place=True)
    output_bytes = row * block.depth("attn_output")
    return steps.add(output_bytes, steps.add(output_bytes, *values, scores, inputs=read))


def _batch_scored(
    steps: Steps, block: Block, work: Work, entering: str, size: int, *, in_ram: bool
) -> tuple[str, tuple[str, ...], tuple[SplitInput, ...]]:
    """Make the scores, and the values that they are for, transposed."""
    del in_ram  # what is not cached is on the GPU
    query, key, value, _ = projected(steps, block, work, entering)
    value = steps.add(_FLOAT_BYTES * work.tokens * block.value_row, value)
    return steps.add(size, key, query), (value,), ()


def _cache_scored(
    steps: Steps, block: Block, work: Work, entering: str, size: int, *, in_ram: bool
) -> tuple[str, tuple[str, ...], tuple[SplitInput, ...]]:
    """Make the same of the cache, where values lie transposed without flash attention; or copies of both, from RAM."""
    query, key, value, _ = projected(steps, block, work, entering)
    store(steps, block, work, key, value)
    cells = work.cells.full
    values_bytes = padded_cache_bytes(work.layout.type_v, block.value_row, cells, cells)
    if in_ram:
        steps.store(query)
        return "scores", (), cached("values", values_bytes)
    values = (steps.add(values_bytes),) if work.flash_attention else ()
    return steps.add(size, query), values, ()


def cross_attention(steps: Steps, block: Block, work: Work, entering: str, n_embd: int) -> str:
    """Attend to what was encoded, whose keys and values every batch makes anew."""
    encoded = graph_input("encoded", _FLOAT_BYTES * block.encoded * n_embd)
    output_bytes = _FLOAT_BYTES * work.tokens * block.width("cross_attn_q")
    query = steps.add(output_bytes, entering, inputs=block.weight("cross_attn_q"))
    key, value = (
        steps.add(_FLOAT_BYTES * block.encoded * block.width(part), inputs=(*block.weight(part), *encoded))
        for part in ("cross_attn_k", "cross_attn_v")
    )
    seen_bytes = _HALF_BYTES if work.flash_attention else _FLOAT_BYTES
    seen = graph_input("cross mask", seen_bytes * block.encoded * work.tokens)
    return attended_each_other(steps, block, work, query, key, value, seen=seen, n_seen=block.encoded)
