"""The output of a layer's heads, up to where it is projected: rotated back, and weighed by gates."""

from __future__ import annotations

from typing import TYPE_CHECKING

from launchdeck.planning.llama.replay.layers.cache_rotation import cache_rotated, cache_rotations
from launchdeck.planning.llama.replay.steps import cached

if TYPE_CHECKING:
    from launchdeck.planning.llama.replay.block import Block
    from launchdeck.planning.llama.replay.steps import SplitInput, Steps
    from launchdeck.planning.llama.work import Work

OUTPUT_IN_RAM = "attention output"
_FLOAT_BYTES = 4


def rotated_back(steps: Steps, block: Block, work: Work, output: str) -> str:
    """Rotate back the output of values that were rotated before they were quantised."""
    rotation = cache_rotations(block, work)[1]
    return cache_rotated(
        steps, _bytes(block, work), output, (*rotation, *copy_of_output(block, work, output)) if rotation else ()
    )


def copy_of_output(block: Block, work: Work, output: str) -> tuple[SplitInput, ...]:
    """Copy an output that was made in RAM to the GPU, with the first step that reads it."""
    return cached(OUTPUT_IN_RAM, _bytes(block, work)) if output == OUTPUT_IN_RAM else ()


def gated_by_queries(steps: Steps, block: Block, work: Work, output: str, gate: str) -> str:
    """Weigh the output, rotated back, by the other half of what the queries come from."""
    size, result = _bytes(block, work), rotated_back(steps, block, work, output)
    gate = steps.add(size, gate)
    in_another_shape = work.flash_attention or result != output
    return steps.add(size, result, gate, in_place_of=gate if in_another_shape else result)


def gated_by_matrix(steps: Steps, block: Block, work: Work, output: str, entering: str) -> str:
    """Weigh the output, rotated back, by a gate for each of its numbers, or by one for each head.

    Flash attention's output is looked at in another shape, so the result takes the gates' place if that is as large.
    """
    size, width = _bytes(block, work), block.width("attn_gate")
    output = rotated_back(steps, block, work, output)
    gate = steps.add(_FLOAT_BYTES * work.tokens * width, entering, inputs=block.weight("attn_gate"))
    weighed = (gate, output) if work.flash_attention else (output, gate)
    return steps.add(size, *weighed, in_place=width > block.n_head)


def _bytes(block: Block, work: Work) -> int:
    return _FLOAT_BYTES * work.tokens * block.n_head * block.value_length
