"""The recurrent part of a layer (Mamba, Mamba 2): a convolution over the last few tokens, and a scan of states.

Both keep a state for each sequence, in the cache. Where that is in RAM, the scan happens there. Source:
`build_mamba_layer`, `build_mamba2_layer` and `build_rs` of llama.cpp (mamba-base.cpp, llama-graph.cpp).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from launchdeck.planning.llama.replay.program import Place
from launchdeck.planning.llama.replay.steps import (
    AHEAD,
    backend_copy,
    cached,
    graph_input,
    keep_other_states,
    take_up_state,
)

if TYPE_CHECKING:
    from launchdeck.planning.llama.replay.block import Block
    from launchdeck.planning.llama.replay.steps import Steps
    from launchdeck.planning.llama.work import Work

_FLOAT_BYTES = 4
_PLACE_BYTES = 4
# Source: `ggml_backend_cuda_device_supports_op` of llama.cpp.
_CHANNELS_MULTIPLE = 128
_STATE_OF_CHANNEL = 16
_STATES_OF_HEAD = frozenset({128, 256})
_HEAD_MULTIPLE = 16


class Scanned(NamedTuple):
    """What comes out of the scan, and what its end takes besides: the inner numbers as they were before the
    convolution and after it.
    """

    result: str
    projected: str
    mixed: str


def scans_on_gpu(block: Block) -> bool:
    """Tell whether a GPU can do this: with other shapes the host does it, wherever the layer is."""
    needed = {"ssm_in", "ssm_conv1d", "ssm_out", "ssm_a", "ssm_d"} | ({"ssm_dt"} if block.has("ssm_x") else set())
    if not all(map(block.has, needed)) or "ssm_dt.bias" not in block.tensors:
        return False
    inner, heads = block.depth("ssm_out"), block.shape("ssm_dt.bias", 1)[0]
    state = block.state_rows[1] // max(inner, 1)
    if block.width("ssm_conv1d") % _CHANNELS_MULTIPLE:
        return False
    if block.has("ssm_x"):
        return state == _STATE_OF_CHANNEL and heads == inner
    return state in _STATES_OF_HEAD and inner // heads % _HEAD_MULTIPLE == 0


def fetch(steps: Steps, block: Block, work: Work) -> None:
    """Copy the states of all sequences in the batch out of the cache."""
    size = _FLOAT_BYTES * block.state_rows[0] * work.cells.sequences
    take_up_state(steps, size, work.cells.sequences, AHEAD)


def scanned(steps: Steps, block: Block, work: Work, entering: str, place: Place) -> Scanned:
    """Scan: from what enters the part to what the scan makes of it."""
    row, sequences, in_ram = _FLOAT_BYTES * work.tokens, work.cells.sequences, place is Place.OFFLOADED
    projected = steps.add(row * block.width("ssm_in"), entering, inputs=block.weight("ssm_in"))
    taps, channels = block.shape("ssm_conv1d.weight", 2)
    state = _FLOAT_BYTES * block.state_rows[0] * sequences
    joined_bytes = _FLOAT_BYTES * (work.tokens + (taps - 1) * sequences) * channels
    if in_ram:
        joined = steps.add(joined_bytes, projected, inputs=cached("convolution", state))
    else:
        joined = steps.add(joined_bytes, projected, AHEAD)
    steps.store(joined)
    mixed = steps.add(row * channels, joined, inputs=block.weight("ssm_conv1d"))
    mixed = steps.change(row * channels, mixed, block.bias("ssm_conv1d"))
    if block.has("ssm_x"):
        reads = (mixed, *_time_steps_of_channels(steps, block, row, mixed))
    else:
        reads = (mixed, _time_steps_of_heads(steps, block, row, projected))
    if in_ram:
        steps.store(*reads)
        return Scanned("scan", projected, mixed)
    size = row * block.depth("ssm_out") + _FLOAT_BYTES * block.state_rows[1] * sequences
    result = steps.add(size, *reads, inputs=graph_input("states' places", _PLACE_BYTES * sequences))
    keep_other_states(steps)
    return Scanned(result, projected, mixed)


def gated(steps: Steps, block: Block, work: Work, scan: Scanned, *, place: Place, gate_is_copied: bool) -> str:
    """Add what went past the scan to its result, gate it, and make it as wide as the model again."""
    row = _FLOAT_BYTES * work.tokens
    inner = row * block.depth("ssm_out")
    if gate_is_copied:
        gate, gate_inputs = "gate", backend_copy("gate", inner)
    else:
        gate, gate_inputs = steps.add(inner, scan.projected), ()
    past = steps.add(inner, scan.mixed, inputs=block.weight("ssm_d"), in_place=block.has("ssm_x"))
    if place is Place.OFFLOADED:
        result = steps.add(inner, scan.result, past, inputs=cached("scan", inner), in_place=True)
    else:
        result = steps.add(inner, past, scan.result, in_place=True)
    result = steps.add(inner, gate, result, inputs=gate_inputs)
    if block.has("ssm_norm"):
        result = steps.change(inner, steps.add(inner, result), block.weight("ssm_norm"))
    return steps.add(row * block.width("ssm_out"), result, inputs=block.weight("ssm_out"))


def gate_for_another(steps: Steps, block: Block, work: Work) -> None:
    """Make the gate at the end of another device's layer; the copy that it needs is as long as all it is a part of."""
    row = _FLOAT_BYTES * work.tokens
    inner = row * block.depth("ssm_out")
    behind = _FLOAT_BYTES * (work.tokens - 1) * (block.width("ssm_in") - block.depth("ssm_out"))
    steps.end_split(steps.add(inner, inputs=backend_copy("projected", inner + behind)))


def _time_steps_of_heads(steps: Steps, block: Block, row: int, projected: str) -> str:
    """Mamba 2 has them among what it projects, with the scan's other inputs."""
    size = row * block.shape("ssm_dt.bias", 1)[0]
    return steps.change(size, steps.add(size, projected), block.bias("ssm_dt"))


def _time_steps_of_channels(steps: Steps, block: Block, row: int, mixed: str) -> tuple[str, ...]:
    """Mamba makes them, and the scan's other inputs, of what comes out of the convolution."""
    made = steps.add(row * block.width("ssm_x"), mixed, inputs=block.weight("ssm_x"))
    inputs, steps_of = [made], made
    if block.norms_scan_inputs:
        steps_of = _normed(steps, block, "ssm_dt_norm", row * block.depth("ssm_dt"), made)
    size = row * block.width("ssm_dt")
    inputs.append(steps.change(size, steps.add(size, steps_of, inputs=block.weight("ssm_dt")), block.bias("ssm_dt")))
    if block.norms_scan_inputs:
        length = row * block.depth("ssm_a")
        inputs[:1] = [_normed(steps, block, part, length, made) for part in ("ssm_b_norm", "ssm_c_norm")]
    return tuple(inputs)


def _normed(steps: Steps, block: Block, part: str, size: int, result: str) -> str:
    return steps.change(size, steps.add(size, result), block.weight(part))
