"""The attention of a layer: from what enters it to what its heads found, before their results are put together.

Source: `build_qkv` and `build_attn` of llama.cpp (llama-graph.cpp). Queries come first, then values and keys; in a
model with a sliding window keys and values.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from launchdeck.planning.steps import cached, given

if TYPE_CHECKING:
    from launchdeck.models.ggml import GgmlType
    from launchdeck.planning.block import Block
    from launchdeck.planning.steps import Brought, Steps
    from launchdeck.planning.work import Work

    Sizes = tuple[int, int, int]
    Turn = tuple[Brought, ...]

FOUND_IN_RAM = "found"
_FLOAT_BYTES = 4
_HALF_BYTES = 2
_PLACE_BYTES = 8
_GPU_ROW = 512
_SMALLEST_ROTATION = 64


def attention(steps: Steps, block: Block, work: Work, entering: str, *, in_ram: bool = False) -> str:
    """Queries, keys and values, the cache, and what the heads found there; that is looked for in RAM, maybe."""
    row = _FLOAT_BYTES * work.tokens
    sizes = (row * block.n_head * block.key_length, row * block.value_row, row * block.key_row)
    turn_k, turn_v = _turning(block, work)
    if block.borrows:
        query = _turned(steps, sizes[0], _projected(steps, block, work, "q", entering, sizes[0]), turn_k)
        return _attended(steps, block, work, query)
    gate = ""
    if block.gates_heads:
        gate = steps.add(row * block.width("attn_q"), entering, brought=block.weight("attn_q"))
        query = _turned(steps, sizes[0], _positioned(steps, block, work, "q", gate, sizes[0], part=True), turn_k)
        value, key = (
            _turned(steps, size, _projected(steps, block, work, letter, entering, size), turn)
            for letter, size, turn in (("v", sizes[1], turn_v), ("k", sizes[2], turn_k))
        )
    elif block.has("attn_q"):
        found = {
            letter: _turned(steps, size, _projected(steps, block, work, letter, entering, size), turn)
            for letter, size, turn in _in_order(block, sizes, turn_k, turn_v)
        }
        query, key, value = found["q"], found["k"], found["v"]
    else:
        size = row * block.width("attn_qkv")
        value = steps.change(size, steps.add(size, entering, brought=block.weight("attn_qkv")), block.bias("attn_qkv"))
        query = _turned(steps, sizes[0], _positioned(steps, block, work, "q", value, sizes[0], part=True), turn_k)
        key = _turned(steps, sizes[2], _positioned(steps, block, work, "k", value, sizes[2], part=True), turn_k)
    name = "window" if block.in_window else "full"
    places = 1 if work.flash_attention else block.value_row
    steps.store(key, places=given(f"{name} keys' places", _PLACE_BYTES * work.tokens))
    steps.store(value, places=given(f"{name} values' places", _PLACE_BYTES * work.tokens * places))
    if in_ram:
        steps.store(query)
        return FOUND_IN_RAM
    result = _attended(steps, block, work, query)
    return _gated(steps, block, work, result, gate) if gate else result


def _gated(steps: Steps, block: Block, work: Work, found: str, gate: str) -> str:
    """Weigh what was found by the other half of what the queries come from; already turned back."""
    size = _FLOAT_BYTES * work.tokens * block.n_head * block.value_length
    turned = turned_back(steps, block, work, found)
    gate = steps.add(size, gate)
    in_another_shape = work.flash_attention or turned != found
    return steps.add(size, turned, gate, in_place_of=gate if in_another_shape else turned)


def turned_back(steps: Steps, block: Block, work: Work, found: str) -> str:
    """What was found in values that were turned before they were quantised."""
    turn = _turning(block, work)[1]
    size = _FLOAT_BYTES * work.tokens * block.n_head * block.value_length
    return steps.add(size, found, brought=(*turn, *copy_of_found(block, work, found))) if turn else found


def copy_of_found(block: Block, work: Work, found: str) -> Turn:
    """What was found in RAM comes to the GPU with the first step that reads it."""
    size = _FLOAT_BYTES * work.tokens * block.n_head * block.value_length
    return cached(FOUND_IN_RAM, size) if found == FOUND_IN_RAM else ()


def _in_order(block: Block, sizes: Sizes, turn_k: Turn, turn_v: Turn) -> tuple[tuple[str, int, Turn], ...]:
    query, value, key = zip("qvk", sizes, (turn_k, turn_v, turn_k), strict=True)
    return (query, key, value) if block.keys_first else (query, value, key)


def _projected(steps: Steps, block: Block, work: Work, letter: str, entering: str, size: int) -> str:
    result = steps.add(size, entering, brought=block.weight(f"attn_{letter}"))
    result = steps.change(size, result, block.bias(f"attn_{letter}"))
    if letter == "v":
        return steps.add(size, result) if block.norms_values else result
    return _positioned(steps, block, work, letter, result, size, part=False)


def _positioned(steps: Steps, block: Block, work: Work, letter: str, result: str, size: int, *, part: bool) -> str:
    """Normalise and rotate it; head by head, or as a part of something, that cannot happen in its place."""
    whole = not part and _FLOAT_BYTES * work.tokens * block.norm_length(f"attn_{letter}_norm") == size
    if block.has(f"attn_{letter}_norm") and not block.rotates_first:
        result = _normed(steps, block, letter, result, size, in_place=whole)
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
        positions = given("positions", _FLOAT_BYTES * work.tokens * block.positions_per_token)
        return steps.add(size, result, brought=(*positions, *block.factors()), in_place=in_place)
    if block.scales_query and letter == "q":
        return steps.add(size, result, brought=given("scales", _FLOAT_BYTES * work.tokens))
    return result


def _attended(steps: Steps, block: Block, work: Work, query: str) -> str:
    cells = work.cells.window if block.in_window else work.cells.full
    seen = cells // work.cells.streams
    found = _FLOAT_BYTES * work.tokens * block.n_head * block.value_length
    keys, values = _caches(block, work, cells)
    sinks = block.weight("attn_sinks")
    if work.flash_attention:
        return steps.add(
            found + _in_half_bytes(block, work, cells), query, brought=(*keys, *values, *mask(block, work), *sinks)
        )
    scores = _FLOAT_BYTES * work.tokens * seen * block.n_head
    result = steps.add(scores, query, brought=keys)
    result = steps.add(scores, result, brought=(*mask(block, work), *sinks), in_place=True)
    return steps.add(found, steps.add(found, result, brought=values))


def mask(block: Block, work: Work) -> tuple[Brought, ...]:
    """For every pair of token and cell whether the one sees the other."""
    cells = work.cells.window if block.in_window else work.cells.full
    seen_bytes = _HALF_BYTES if work.flash_attention else _FLOAT_BYTES
    return given("window mask" if block.in_window else "mask", seen_bytes * work.tokens * cells // work.cells.streams)


def padded_cache_bytes(stored: GgmlType, cells: int, row: int, head: int) -> int:
    """Bytes of a copy of keys or values; the last head of quantised ones is padded."""
    padding = stored.row_bytes(_GPU_ROW - head % _GPU_ROW) if stored.is_quantised and head % _GPU_ROW else 0
    return cells * stored.row_bytes(row) + padding


def _caches(block: Block, work: Work, cells: int) -> tuple[Turn, Turn]:
    key, value = work.layout.type_k, work.layout.type_v
    return (
        cached("keys", padded_cache_bytes(key, cells, block.key_row, block.key_length)),
        cached("values", padded_cache_bytes(value, cells, block.value_row, block.value_length)),
    )


def _in_half_bytes(block: Block, work: Work, cells: int) -> int:
    """Flash attention makes a copy in 16 bits of what is cached in more or less."""
    key, value = work.layout.type_k, work.layout.type_v
    return _HALF_BYTES * cells * (block.key_row * (not key.has_16_bits) + block.value_row * (not value.has_16_bits))


def _turning(block: Block, work: Work) -> tuple[Turn, Turn]:
    """Matrices that turn keys and values before they are quantised; those for keys are as large as fits a head."""
    key, value = block.key_length, block.value_length
    turns_k = work.layout.type_k.is_quantised and key % _SMALLEST_ROTATION == 0
    turns_v = work.layout.type_v.is_quantised and value % _SMALLEST_ROTATION == 0
    size = _SMALLEST_ROTATION
    while turns_k and key % (2 * size) == 0:
        size *= 2
    name = " of the window" if block.in_window else ""
    return (
        given(f"turn of keys{name}", _FLOAT_BYTES * size * size) if turns_k else (),
        given(f"turn of values{name}", _FLOAT_BYTES * _SMALLEST_ROTATION**2) if turns_v else (),
    )


def _turned(steps: Steps, size: int, result: str, turn: Turn) -> str:
    return steps.add(size, result, brought=turn) if turn else result
