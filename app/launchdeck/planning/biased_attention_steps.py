"""Attention of T5's encoder: to the batch itself, with a bias by the distance of two tokens added to every score.

The bias is looked up where the first layer is, which has its table; if that is in RAM, the GPU gets a copy for each
layer. Source: `llama_model_t5`, `build_pos_bias` and `build_attn_mha` of llama.cpp.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from launchdeck.planning.allocator import aligned
from launchdeck.planning.steps import Brought, Kind, given

if TYPE_CHECKING:
    from launchdeck.planning.block import Block
    from launchdeck.planning.steps import Steps
    from launchdeck.planning.work import Work

_FLOAT_BYTES = 4
_HALF_BYTES = 2
_BUCKET_BYTES = 4


def biased_attention(steps: Steps, block: Block, work: Work, entering: str, *, n_layer: int, bias_in_ram: bool) -> str:
    """Queries, keys and values, the biased scores, and what was found.

    Each of the layers looks up the bias in a copy of its own of the distances; all are there from the beginning.
    """
    row, pairs = _FLOAT_BYTES * work.tokens, work.tokens * work.tokens
    query = steps.add(row * block.width("attn_q"), entering, brought=block.weight("attn_q"))
    key = steps.add(row * block.width("attn_k"), entering, brought=block.weight("attn_k"))
    value = steps.add(row * block.width("attn_v"), entering, brought=block.weight("attn_v"))
    value = steps.add(row * block.width("attn_v"), value)
    size = _FLOAT_BYTES * pairs * block.n_head
    scores = steps.add(size, key, query)
    if bias_in_ram:
        bias = steps.add(size, brought=(Brought(Kind.EXPERTS, "bias", aligned(size)),))
    else:
        bias = steps.add(size, steps.add(size, brought=given("buckets", _BUCKET_BYTES * pairs * n_layer)))
    mask = given("mask", (_HALF_BYTES if work.flash_attention else _FLOAT_BYTES) * pairs)
    scores = steps.add(size, scores, bias, in_place=True)
    scores = steps.add(size, scores, brought=mask, in_place=True)
    found = row * block.depth("attn_output")
    return steps.add(found, steps.add(found, value, scores))
