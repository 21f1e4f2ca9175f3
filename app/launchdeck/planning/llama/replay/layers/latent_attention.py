"""Attention to keys that are compressed into one vector for all heads, of which the values are made as well (MLA).

Source: `llama_model_deepseek2` and `build_attn` for `llm_graph_input_attn_k` of llama.cpp.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from launchdeck.planning.llama.replay.layers.attention import mask, padded_cache_bytes
from launchdeck.planning.llama.replay.steps import cached, graph_input

if TYPE_CHECKING:
    from launchdeck.planning.llama.replay.block import Block
    from launchdeck.planning.llama.replay.steps import Steps
    from launchdeck.planning.llama.work import Work

_FLOAT_BYTES = 4
_HALF_BYTES = 2
_PLACE_BYTES = 8


def latent_attention(steps: Steps, block: Block, work: Work, entering: str, *, offloaded: bool) -> str:
    """Make queries in the space of the compressed keys, and these with their rotated part; attend to the cache."""
    row, rank = _FLOAT_BYTES * work.tokens, block.latent_rank
    rotated = block.key_row - rank
    positions = graph_input("positions", _FLOAT_BYTES * work.tokens)
    query = latent_query(steps, block, row, entering)
    absorbed = steps.add(row * block.n_head * rank, query, inputs=block.weight("attn_k_b"))
    rotary = steps.add(row * block.n_head * rotated, query, inputs=positions)
    query = steps.add(row * block.n_head * block.key_row, absorbed, rotary)
    compressed = steps.add(row * block.key_row, entering, inputs=block.weight("attn_kv_a_mqa"))
    normed = steps.change(row * rank, steps.add(row * rank, compressed), block.weight("attn_kv_a_norm"))
    rotary = steps.add(row * rotated, compressed, inputs=positions)
    key = steps.add(row * block.key_row, normed, rotary)
    steps.store(key, places=graph_input("full keys' places", _PLACE_BYTES * work.tokens))
    output = _attended(steps, block, work, query, offloaded=offloaded)
    results = row * block.depth("attn_output")
    return steps.add(results, steps.add(results, output, inputs=block.weight("attn_v_b")))


def latent_query(steps: Steps, block: Block, row: int, entering: str) -> str:
    """Make the query, which in larger models is compressed on its way, too."""
    if not block.has("attn_q_a"):
        return steps.add(row * block.width("attn_q"), entering, inputs=block.weight("attn_q"))
    inner = row * block.width("attn_q_a")
    query = steps.add(inner, entering, inputs=block.weight("attn_q_a"))
    query = steps.change(inner, steps.add(inner, query, in_place=True), block.weight("attn_q_a_norm"))
    return steps.add(row * block.width("attn_q_b"), query, inputs=block.weight("attn_q_b"))


def _attended(steps: Steps, block: Block, work: Work, query: str, *, offloaded: bool) -> str:
    """The values are the first numbers of the keys; where the cache is copied, they are copied once more."""
    cells, stored, rank = work.cells.full, work.layout.type_k, block.latent_rank
    keys = cached("keys", padded_cache_bytes(stored, cells, block.key_row, block.key_row))
    behind_values = stored.row_bytes(block.key_row) - stored.row_bytes(rank)
    values = cached("values", padded_cache_bytes(stored, cells, block.key_row, rank) - behind_values)
    output_bytes = _FLOAT_BYTES * work.tokens * block.n_head * rank
    if work.flash_attention:
        halves = (block.key_row + rank * offloaded) * (not stored.has_16_bits)
        size = output_bytes + _HALF_BYTES * cells * halves
        return steps.add(size, query, inputs=(*keys, *values, *mask(block, work)))
    seen = cells // work.cells.streams
    values_again = steps.add(_HALF_BYTES * cells * rank, inputs=values)
    scores = _FLOAT_BYTES * work.tokens * seen * block.n_head
    result = steps.add(scores, query, inputs=keys)
    result = steps.add(scores, result, inputs=mask(block, work), in_place=True)
    return steps.add(output_bytes, values_again, result)
