"""The rotation of queries, keys and values where the cache is quantised, and back that of the output.

A rotation spreads what is large over all numbers of a head, so that they are quantised more finely; llama.cpp calls it
`attn_rot`, and it has nothing to do with that by positions (RoPE). Source: `llama_kv_cache::build_input_k_rot` and
`build_input_v_rot` of llama.cpp, the latter with the smallest matrix always.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from launchdeck.planning.llama.replay.steps import graph_input

if TYPE_CHECKING:
    from launchdeck.planning.llama.replay.block import Block
    from launchdeck.planning.llama.replay.steps import SplitInput, Steps
    from launchdeck.planning.llama.work import Work

    Rotation = tuple[SplitInput, ...]

_FLOAT_BYTES = 4
_SMALLEST_ROTATION = 64


def cache_rotations(block: Block, work: Work) -> tuple[Rotation, Rotation]:
    """Give the matrices for keys and for values; that for keys is as large as fits a head."""
    key, value = block.key_length, block.value_length
    if not block.reads_cache:
        return (), ()
    rotates_k = work.layout.type_k.is_quantised and key % _SMALLEST_ROTATION == 0
    rotates_v = work.layout.type_v.is_quantised and value % _SMALLEST_ROTATION == 0
    size = _SMALLEST_ROTATION
    while rotates_k and key % (2 * size) == 0:
        size *= 2
    name = " of the window" if block.in_window else ""
    return (
        graph_input(f"rotation of keys{name}", _FLOAT_BYTES * size * size) if rotates_k else (),
        graph_input(f"rotation of values{name}", _FLOAT_BYTES * _SMALLEST_ROTATION**2) if rotates_v else (),
    )


def cache_rotated(steps: Steps, size: int, result: str, rotation: Rotation) -> str:
    """Rotate the result, or give it as it is where there is nothing to rotate it with."""
    return steps.add(size, result, inputs=rotation) if rotation else result
