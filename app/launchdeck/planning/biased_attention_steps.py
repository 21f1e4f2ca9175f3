"""Attention of T5's encoder: to the batch itself, with a bias by the distance of two tokens added to every score.

The bias is looked up where the first layer is, which has its table. If that is in RAM, the GPU gets a copy for each
layer. If it is on another GPU, scores and values go there, and what was found in them comes back. Source:
`llama_model_t5`, `build_pos_bias` and `build_attn_mha` of llama.cpp.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from launchdeck.planning.allocator import aligned
from launchdeck.planning.distance_bias import BUCKETS_AT_ONCE
from launchdeck.planning.steps import Brought, Kind, given

if TYPE_CHECKING:
    from launchdeck.planning.block import Block
    from launchdeck.planning.steps import Steps
    from launchdeck.planning.work import Work

_FLOAT_BYTES = 4
_HALF_BYTES = 2
_BUCKET_BYTES = 4


class Bias(Enum):
    """Where the bias is looked up."""

    HERE = 0
    IN_RAM = 1
    ON_ANOTHER_GPU = 2


def biased_attention(steps: Steps, block: Block, work: Work, entering: str, *, n_layer: int, bias: Bias) -> str:
    """Queries, keys and values, the biased scores, and what was found.

    Each of the layers looks up the bias in a copy of its own of the distances; all are there from the beginning. What
    was found elsewhere is a copy that its GPU keeps, and no result: its name is empty.
    """
    row, pairs = _FLOAT_BYTES * work.tokens, work.tokens * work.tokens
    query = steps.add(row * block.width("attn_q"), entering, brought=block.weight("attn_q"))
    key = steps.add(row * block.width("attn_k"), entering, brought=block.weight("attn_k"))
    value = steps.add(row * block.width("attn_v"), entering, brought=block.weight("attn_v"))
    value = steps.add(row * block.width("attn_v"), value)
    size = _FLOAT_BYTES * pairs * block.n_head
    scores = steps.add(size, key, query)
    if bias is Bias.ON_ANOTHER_GPU:
        steps.hand_over(value, scores)
        return ""
    if bias is Bias.IN_RAM:
        added = steps.add(size, brought=(Brought(Kind.EXPERTS, "bias", aligned(size)),))
    else:
        buckets = given("buckets", aligned(_BUCKET_BYTES * pairs) * min(n_layer, BUCKETS_AT_ONCE))
        added = steps.add(size, steps.add(size, brought=buckets))
    mask = given("mask", (_HALF_BYTES if work.flash_attention else _FLOAT_BYTES) * pairs)
    scores = steps.add(size, scores, added, in_place=True)
    scores = steps.add(size, scores, brought=mask, in_place=True)
    found = row * block.depth("attn_output")
    return steps.add(found, steps.add(found, value, scores))
