"""A short convolution over the last few tokens, gated before it and after it (LFM2).

Source: `build_shortconv_block` of llama.cpp (lfm2.cpp).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from launchdeck.planning.llama.replay.program import Place
from launchdeck.planning.llama.replay.steps import AHEAD, cached

if TYPE_CHECKING:
    from launchdeck.planning.llama.replay.block import Block
    from launchdeck.planning.llama.replay.steps import Steps
    from launchdeck.planning.llama.work import Work

_FLOAT_BYTES = 4
_CHANNELS_MULTIPLE = 128


def is_known_convolution(block: Block) -> bool:
    """Tell whether it has all that this takes, in a size that a GPU can work with."""
    needed = ("shortconv.conv", "shortconv.in_proj", "shortconv.out_proj")
    return all(map(block.has, needed)) and block.width("shortconv.conv") % _CHANNELS_MULTIPLE == 0


def joined_before_convolution(steps: Steps, block: Block, work: Work, entering: str, place: Place) -> tuple[str, str]:
    """Put the tokens behind the state's; besides, give what they and the gate after the convolution are parts of."""
    row, sequences = _FLOAT_BYTES * work.tokens, work.cells.sequences
    taps, channels = block.shape("shortconv.conv.weight", 2)
    projected = steps.add(row * block.width("shortconv.in_proj"), entering, inputs=block.weight("shortconv.in_proj"))
    gated = steps.add(row * channels, projected)
    joined_bytes = _FLOAT_BYTES * (work.tokens + (taps - 1) * sequences) * channels
    if place is Place.OFFLOADED:
        copy = cached("convolution", _FLOAT_BYTES * block.state_rows[0] * sequences)
        joined = steps.add(joined_bytes, gated, inputs=copy)
    else:
        joined = steps.add(joined_bytes, gated, AHEAD)
    steps.store(joined)
    return joined, projected


def convolved(steps: Steps, block: Block, work: Work, joined: str, projected: str) -> str:
    """Convolve, gate, and make it as wide as the model."""
    row = _FLOAT_BYTES * work.tokens
    channels = block.width("shortconv.conv")
    result = steps.add(row * channels, joined, inputs=block.weight("shortconv.conv"))
    result = steps.add(row * channels, projected, result, in_place_of=result)
    return steps.add(row * block.width("shortconv.out_proj"), result, inputs=block.weight("shortconv.out_proj"))
