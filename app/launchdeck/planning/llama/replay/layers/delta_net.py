"""Linear attention by a gated delta net (Qwen3-Next, Qwen3.5): a convolution, and one operation that works with states.

Source: `build_layer_attn_linear`, `build_conv_state` and `build_delta_net_fused` of llama.cpp (qwen35.cpp,
qwen3next.cpp, delta-net-base.cpp).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from launchdeck.planning.llama.replay.layers.chunked_delta_net import Chunks, Inputs
from launchdeck.planning.llama.replay.program import Place
from launchdeck.planning.llama.replay.steps import cached, take_up_state

if TYPE_CHECKING:
    from launchdeck.planning.llama.replay.block import Block
    from launchdeck.planning.llama.replay.steps import Steps
    from launchdeck.planning.llama.work import Work

_FLOAT_BYTES = 4
_CHANNELS_MULTIPLE = 128
_STATE_IN_RAM = "state"


def is_known_delta_net(block: Block) -> bool:
    """Tell whether it has all that this takes, in a size that a GPU can work with."""
    needed = {"attn_qkv", "attn_gate", "ssm_conv1d", "ssm_a", "ssm_norm", "ssm_out"}
    rates = {"ssm_ba"} if block.has("ssm_ba") else {"ssm_alpha", "ssm_beta"}
    return (
        all(map(block.has, needed | rates))
        and "ssm_dt.bias" in block.tensors
        and block.width("ssm_conv1d") % _CHANNELS_MULTIPLE == 0
    )


def delta_net(steps: Steps, block: Block, work: Work, entering: str, place: Place, *, fused: bool) -> str:
    """Do the part: from what enters it to what is added to what went past it."""
    row, sequences, in_ram = _FLOAT_BYTES * work.tokens, work.cells.sequences, place is Place.OFFLOADED
    conv_bytes, state_bytes = (_FLOAT_BYTES * size * sequences for size in block.state_rows)
    taps, channels = block.shape("ssm_conv1d.weight", 2)
    inner = row * block.depth("ssm_out")

    if in_ram:
        steps.end_split()
    before = () if in_ram else (take_up_state(steps, conv_bytes, sequences),)
    projected = steps.add(row * block.width("attn_qkv"), entering, inputs=block.weight("attn_qkv"))
    copy = cached("convolution", conv_bytes) if in_ram else ()
    joined_bytes = _FLOAT_BYTES * (work.tokens + (taps - 1) * sequences) * channels
    joined = steps.add(joined_bytes, *before, projected, inputs=copy)
    steps.store(joined)
    state = _STATE_IN_RAM if in_ram else take_up_state(steps, state_bytes, sequences)
    copy = cached(_STATE_IN_RAM, state_bytes) if in_ram else ()

    rates = _Rates(steps, block, row, entering)
    if fused:
        mixed = _convolved(steps, block, row, joined)
        query, key = _key(steps, block, row, mixed, fused=True), _key(steps, block, row, mixed, fused=True)
        reads = (query, key, mixed, rates.forgets(), rates.learns(), state)
        result = steps.add(inner + state_bytes, *reads, inputs=copy)
        steps.store(result)
    else:
        inputs = Inputs(
            forgets=rates.forgets,
            mixed=lambda: _convolved(steps, block, row, joined),
            key=lambda mixed: _key(steps, block, row, mixed, fused=False),
            learns=rates.learns,
            state=state,
            state_copy=copy,
        )
        heads = block.shape("ssm_dt.bias", 1)[0]
        length = block.depth("ssm_out") // heads
        result = Chunks(steps, heads, length, sequences, work.tokens // sequences).result(inputs)
    result = steps.change(inner, steps.add(inner, result), block.weight("ssm_norm"))
    gate = steps.add(inner, steps.add(inner, entering, inputs=block.weight("attn_gate")))
    result = steps.add(inner, result, gate, in_place=True)
    return steps.add(row * block.width("ssm_out"), result, inputs=block.weight("ssm_out"))


def _convolved(steps: Steps, block: Block, row: int, joined: str) -> str:
    return steps.add(row * block.width("ssm_conv1d"), joined, inputs=block.weight("ssm_conv1d"))


def _key(steps: Steps, block: Block, row: int, mixed: str, *, fused: bool) -> str:
    """Keys, or queries, of unit length, for as many heads as values have where that is not left to the operation."""
    inner = block.depth("ssm_out")
    key = (block.width("ssm_conv1d") - inner) // 2
    result = steps.add(row * key, mixed)
    repeats = key != inner and not (fused and block.has("ssm_alpha"))
    return steps.add(row * inner, result) if repeats else result


class _Rates:
    """How much each head forgets, which is asked first, and how much it learns: from one matrix or from two."""

    def __init__(self, steps: Steps, block: Block, row: int, entering: str) -> None:
        self._steps, self._block, self._row, self._entering = steps, block, row, entering
        self._size = row * block.shape("ssm_dt.bias", 1)[0]
        self._both = ""

    def forgets(self) -> str:
        steps, block, size = self._steps, self._block, self._size
        bias = block.bias("ssm_dt")
        if block.has("ssm_ba"):
            self._both = steps.add(self._row * block.width("ssm_ba"), self._entering, inputs=block.weight("ssm_ba"))
            alpha = steps.change(size, steps.add(size, self._both), bias)
        else:
            alpha = steps.add(size, self._entering, inputs=block.weight("ssm_alpha"))
            alpha = steps.add(size, alpha, inputs=bias)
        return steps.change(size, alpha, block.weight("ssm_a"))

    def learns(self) -> str:
        steps, block, size = self._steps, self._block, self._size
        if self._both:
            return steps.add(size, self._both)
        return steps.add(size, steps.add(size, self._entering, inputs=block.weight("ssm_beta")))
