"""The attention of a layer: from what enters it to its heads' output, before that is projected.

Source: `build_qkv` and `build_attn` of llama.cpp (llama-graph.cpp). Queries come first, then values and keys; in a
model with a sliding window keys and values.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from launchdeck.planning.llama.replay.layers.attention_output import OUTPUT_IN_RAM, gated_by_queries
from launchdeck.planning.llama.replay.layers.cache_rotation import cache_rotated, cache_rotations
from launchdeck.planning.llama.replay.steps import cached, graph_input, kept_backend_copy

if TYPE_CHECKING:
    from launchdeck.models.gguf.ggml import GgmlType
    from launchdeck.planning.llama.replay.block import Block
    from launchdeck.planning.llama.replay.steps import SplitInput, Steps
    from launchdeck.planning.llama.work import Work

    Sizes = tuple[int, int, int]
    SplitInputs = tuple[SplitInput, ...]

_FLOAT_BYTES = 4
_HALF_BYTES = 2
_PLACE_BYTES = 8
_GPU_ROW = 512


class Projected(NamedTuple):
    """Queries, keys and values, rotated for a quantised cache; and what queries are a part of where the rest is a gate
    for what their heads attend to.
    """

    query: str
    key: str
    value: str
    gate: str = ""


def attention(steps: Steps, block: Block, work: Work, entering: str, *, in_ram: bool = False) -> str:
    """Make queries, keys and values, store these, and attend to the cache: on the GPU, or in RAM."""
    if block.reuses_cache:
        size = _FLOAT_BYTES * work.tokens * block.n_head * block.key_length
        query = _projected(steps, block, work, "q", entering, size, {})
        return _attended(steps, block, work, cache_rotated(steps, size, query, cache_rotations(block, work)[0]))
    query, key, value, gate = projected(steps, block, work, entering)
    if not block.reads_cache:
        return attended_each_other(steps, block, work, query, key, value, seen=mask(block, work), n_seen=work.tokens)
    if in_ram:
        store(steps, block, work, key, value)
        steps.store(query)
        return OUTPUT_IN_RAM
    output = looked_up(steps, block, work, query, key, value)
    return gated_by_queries(steps, block, work, output, gate) if gate else output


def projected(steps: Steps, block: Block, work: Work, entering: str) -> Projected:
    """Make queries, keys and values of what enters, before these are stored."""
    row = _FLOAT_BYTES * work.tokens
    sizes = (row * block.n_head * block.key_length, row * block.value_row, row * block.key_row)
    rotation_k, rotation_v = cache_rotations(block, work)
    made: dict[str, str] = {}
    if block.has("attn_q"):
        parts = {
            letter: cache_rotated(steps, size, _projected(steps, block, work, letter, entering, size, made), rotation)
            for letter, size, rotation in _in_order(block, sizes, rotation_k, rotation_v)
        }
    else:
        size = row * block.width("attn_qkv")
        fused = steps.add(size, entering, inputs=block.weight("attn_qkv"))
        fused = steps.change(size, fused, block.scale("attn_qkv"), block.bias("attn_qkv"))
        parts = {
            letter: _rotated_part(steps, size, _part(steps, block, work, letter, fused, size), rotation, fused)
            for letter, size, rotation in _in_order(block, sizes, rotation_k, rotation_v)
        }
    return Projected(parts["q"], parts["k"], parts["v"], made["q"] if block.gates_heads else "")


def looked_up(steps: Steps, block: Block, work: Work, query: str, key: str, value: str) -> str:
    """Store keys and values in the cache, and attend to it."""
    store(steps, block, work, key, value)
    return _attended(steps, block, work, query)


def store(steps: Steps, block: Block, work: Work, key: str, value: str) -> None:
    """Write keys and values into the cache."""
    name = "window" if block.in_window else "full"
    places = block.widest_value_row if work.layout.transposed else 1
    steps.store(key, places=graph_input(f"{name} keys' places", _PLACE_BYTES * work.tokens))
    steps.store(value, places=graph_input(f"{name} values' places", _PLACE_BYTES * work.tokens * places))


def _in_order(
    block: Block, sizes: Sizes, rotation_k: SplitInputs, rotation_v: SplitInputs
) -> tuple[tuple[str, int, SplitInputs], ...]:
    query, value, key = zip("qvk", sizes, (rotation_k, rotation_v, rotation_k), strict=True)
    return (query, key, value) if block.keys_first else (query, value, key)


def _projected(
    steps: Steps, block: Block, work: Work, letter: str, entering: str, size: int, made: dict[str, str]
) -> str:
    """Where there is no matrix for values, they are what keys are `made` of."""
    part = letter if block.has(f"attn_{letter}") else "k"
    is_half = letter == "q" and block.gates_heads
    if part not in made:
        whole = 2 * size if is_half else size
        result = steps.add(whole, entering, inputs=block.weight(f"attn_{part}"))
        made[part] = steps.change(whole, result, block.scale(f"attn_{part}"), block.bias(f"attn_{part}"))
    result = made[part]
    if letter == "v":
        return steps.add(size, result) if block.norms_values else result
    return _positioned(steps, block, work, letter, result, size, part=is_half)


def _part(steps: Steps, block: Block, work: Work, letter: str, fused: str, size: int) -> str:
    return fused if letter == "v" else _positioned(steps, block, work, letter, fused, size, part=True)


def _positioned(steps: Steps, block: Block, work: Work, letter: str, result: str, size: int, *, part: bool) -> str:
    """Normalise and rotate it; head by head, or as a part of something, that cannot happen in its place."""
    whole = not part and _FLOAT_BYTES * work.tokens * block.norm_length(f"attn_{letter}_norm") == size
    if block.has(f"attn_{letter}_norm") and not block.rotates_first:
        centred = bool(block.bias(f"attn_{letter}_norm"))  # with the mean taken away, which is not done in place
        result = _normed(steps, block, letter, result, size, in_place=whole and not centred)
        return _rotated(steps, block, work, letter, result, size, in_place=not whole)
    result = _rotated(steps, block, work, letter, result, size, in_place=False)
    if block.has(f"attn_{letter}_norm"):
        result = _normed(steps, block, letter, result, size, in_place=block.rotates)
    return result


def _normed(steps: Steps, block: Block, letter: str, result: str, size: int, *, in_place: bool) -> str:
    norm = f"attn_{letter}_norm"
    return steps.change(size, steps.add(size, result, in_place=in_place), block.weight(norm), block.bias(norm))


def _rotated(steps: Steps, block: Block, work: Work, letter: str, result: str, size: int, *, in_place: bool) -> str:
    if block.rotates:
        positions = graph_input("positions", _FLOAT_BYTES * work.tokens * block.positions_per_token)
        return steps.add(size, result, inputs=(*positions, *block.factors()), in_place=in_place)
    if block.scales_query and letter == "q":
        return steps.add(size, result, inputs=graph_input("scales", _FLOAT_BYTES * work.tokens))
    return result


def _attended(steps: Steps, block: Block, work: Work, query: str) -> str:
    cells = work.cells.window if block.in_window else work.cells.full
    seen = cells // work.cells.streams
    output_bytes = _FLOAT_BYTES * work.tokens * block.n_head * block.value_length
    keys, values = _caches(block, work, cells)
    sinks = block.weight("attn_sinks")
    if work.flash_attention:
        return steps.add(
            output_bytes + _in_half_bytes(block, work, cells),
            query,
            inputs=(*keys, *values, *mask(block, work), *sinks),
        )
    transposed = () if work.layout.transposed else (steps.add(_values_bytes(block, work, cells), inputs=values),)
    scores = _FLOAT_BYTES * work.tokens * seen * block.n_head
    result = steps.add(scores, query, inputs=keys)
    result = steps.add(scores, result, inputs=(*mask(block, work), *sinks), in_place=True)
    return steps.add(output_bytes, steps.add(output_bytes, *transposed, result, inputs=() if transposed else values))


def attended_each_other(
    steps: Steps,
    block: Block,
    work: Work,
    query: str,
    key: str,
    value: str,
    *,
    seen: tuple[SplitInput, ...],
    n_seen: int,
) -> str:
    """Attend to so many tokens without a cache, those of the batch or others, under the mask `seen`.

    Flash attention makes copies of keys and values in 16 bits; without it values are transposed.
    """
    row = _FLOAT_BYTES * work.tokens
    output_bytes = row * block.n_head * block.value_length
    if work.flash_attention:
        keys = steps.add(_HALF_BYTES * n_seen * block.key_row, key)
        values = steps.add(_HALF_BYTES * n_seen * block.value_row, value)
        return steps.add(output_bytes, query, keys, values, inputs=seen)
    values = steps.add(_FLOAT_BYTES * n_seen * block.value_row, value)
    scores = steps.add(row * n_seen * block.n_head, key, query)
    scores = steps.add(row * n_seen * block.n_head, scores, inputs=seen, in_place=True)
    return steps.add(output_bytes, steps.add(output_bytes, values, scores))


def mask(block: Block, work: Work) -> tuple[SplitInput, ...]:
    """Give the mask: for every pair of token and cell, or of two tokens, whether the one sees the other."""
    cells = (work.cells.window if block.in_window else work.cells.full) // work.cells.streams
    seen = cells if block.reads_cache else work.tokens
    seen_bytes = _HALF_BYTES if work.flash_attention else _FLOAT_BYTES
    return graph_input("window mask" if block.in_window else "mask", seen_bytes * work.tokens * seen)


def padded_cache_bytes(stored: GgmlType, cells: int, row: int, head: int) -> int:
    """Add up a copy of keys or values, in bytes; the last head of quantised ones is padded."""
    padding = stored.row_bytes(_GPU_ROW - head % _GPU_ROW) if stored.is_quantised and head % _GPU_ROW else 0
    return cells * stored.row_bytes(row) + padding


def _caches(block: Block, work: Work, cells: int) -> tuple[SplitInputs, SplitInputs]:
    key, value = work.layout.type_k, work.layout.type_v
    copied = kept_backend_copy if block.cache_copy else cached
    return (
        copied(f"keys{block.cache_copy}", padded_cache_bytes(key, cells, block.key_row, block.key_length)),
        copied(f"values{block.cache_copy}", padded_cache_bytes(value, cells, block.value_row, block.value_length)),
    )


def _values_bytes(block: Block, work: Work, cells: int) -> int:
    return cells * work.layout.type_v.row_bytes(block.value_row)


def _in_half_bytes(block: Block, work: Work, cells: int) -> int:
    """Flash attention makes a copy in 16 bits of what is cached in more or less."""
    key, value = work.layout.type_k, work.layout.type_v
    return _HALF_BYTES * cells * (block.key_row * (not key.has_16_bits) + block.value_row * (not value.has_16_bits))


def _rotated_part(steps: Steps, size: int, result: str, rotation: SplitInputs, fused: str) -> str:
    """What is still a part of what they are all in is copied out of it first."""
    return cache_rotated(steps, size, steps.add(size, result) if rotation and result == fused else result, rotation)
