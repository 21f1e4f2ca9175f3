"""Attention to keys and values that are unfolded from one compressed vector before they are cached.

Source: `llama_model_minicpm3`, `llama_model_plm`, and `llama_model_deepseek2` for files from before it absorbed that
matrix into queries (`attn_kv_b`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from launchdeck.planning.llama.replay.layers.attention import looked_up
from launchdeck.planning.llama.replay.layers.cache_rotation import cache_rotated, cache_rotations
from launchdeck.planning.llama.replay.layers.latent_attention import latent_query
from launchdeck.planning.llama.replay.steps import graph_input

if TYPE_CHECKING:
    from launchdeck.planning.llama.replay.block import Block
    from launchdeck.planning.llama.replay.steps import Steps
    from launchdeck.planning.llama.work import Work

_FLOAT_BYTES = 4


def unfolded_attention(steps: Steps, block: Block, work: Work, entering: str) -> str:
    """Make queries, values and keys, whose rotated part is the same for all heads; attend to the cache."""
    row, rank = _FLOAT_BYTES * work.tokens, block.norm_length("attn_kv_a_norm")
    rotated = block.width("attn_kv_a_mqa") - rank
    positions = (*graph_input("positions", row), *block.factors())
    rotation_k, rotation_v = cache_rotations(block, work)
    size = row * block.n_head * block.key_length
    query = steps.add(size, latent_query(steps, block, row, entering), inputs=positions)
    query = cache_rotated(steps, size, query, rotation_k)
    compressed = steps.add(row * (rank + rotated), entering, inputs=block.weight("attn_kv_a_mqa"))
    normed = steps.change(row * rank, steps.add(row * rank, compressed), block.weight("attn_kv_a_norm"))
    both = steps.add(row * block.width("attn_kv_b"), normed, inputs=block.weight("attn_kv_b"))
    value = cache_rotated(steps, row * block.value_row, steps.add(row * block.value_row, both), rotation_v)
    place = steps.add(row * rotated, compressed, inputs=positions)
    places = steps.add(row * rotated * block.n_head, place)
    key = cache_rotated(steps, row * block.key_row, steps.add(row * block.key_row, both, places), rotation_k)
    return looked_up(steps, block, work, query, key, value)
