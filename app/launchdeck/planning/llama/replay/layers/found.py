"""What a layer's heads found, up to where their results are put together: turned back, and weighed by gates."""

from __future__ import annotations

from typing import TYPE_CHECKING

from launchdeck.planning.llama.replay.layers.turning import turned, turning
from launchdeck.planning.llama.replay.steps import cached

if TYPE_CHECKING:
    from launchdeck.planning.llama.replay.block import Block
    from launchdeck.planning.llama.replay.steps import Brought, Steps
    from launchdeck.planning.llama.work import Work

FOUND_IN_RAM = "found"
_FLOAT_BYTES = 4


def turned_back(steps: Steps, block: Block, work: Work, found: str) -> str:
    """What was found in values that were turned before they were quantised."""
    turn = turning(block, work)[1]
    return turned(steps, _bytes(block, work), found, (*turn, *copy_of_found(block, work, found)) if turn else ())


def copy_of_found(block: Block, work: Work, found: str) -> tuple[Brought, ...]:
    """What was found in RAM comes to the GPU with the first step that reads it."""
    return cached(FOUND_IN_RAM, _bytes(block, work)) if found == FOUND_IN_RAM else ()


def gated_by_queries(steps: Steps, block: Block, work: Work, found: str, gate: str) -> str:
    """Weighed by the other half of what the queries come from; already turned back."""
    size, result = _bytes(block, work), turned_back(steps, block, work, found)
    gate = steps.add(size, gate)
    in_another_shape = work.flash_attention or result != found
    return steps.add(size, result, gate, in_place_of=gate if in_another_shape else result)


def gated_by_matrix(steps: Steps, block: Block, work: Work, found: str, entering: str) -> str:
    """Weighed by a gate for each of its numbers, or by one for each head; already turned back.

    What flash attention found is looked at in another shape, so the result takes the gates' place if that is as large.
    """
    size, width = _bytes(block, work), block.width("attn_gate")
    found = turned_back(steps, block, work, found)
    gate = steps.add(_FLOAT_BYTES * work.tokens * width, entering, brought=block.weight("attn_gate"))
    weighed = (gate, found) if work.flash_attention else (found, gate)
    return steps.add(size, *weighed, in_place=width > block.n_head)


def _bytes(block: Block, work: Work) -> int:
    return _FLOAT_BYTES * work.tokens * block.n_head * block.value_length
