"""Matrices that turn queries, keys and values where the cache is quantised, and what was found in it back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from launchdeck.planning.llama.replay.steps import given

if TYPE_CHECKING:
    from launchdeck.planning.llama.replay.block import Block
    from launchdeck.planning.llama.replay.steps import Brought, Steps
    from launchdeck.planning.llama.work import Work

    Turn = tuple[Brought, ...]

_FLOAT_BYTES = 4
_SMALLEST_ROTATION = 64


def turning(block: Block, work: Work) -> tuple[Turn, Turn]:
    """Those for keys and those for values; those for keys are as large as fits a head."""
    key, value = block.key_length, block.value_length
    if not block.reads_cache:
        return (), ()
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


def turned(steps: Steps, size: int, result: str, turn: Turn) -> str:
    """The result turned, or as it is where there is nothing to turn it with."""
    return steps.add(size, result, brought=turn) if turn else result
