"""What T5 needs besides: a number for every head, token and cell by their distance, which flash attention cannot add;
and where it decodes, attention to what it encoded, whose length is always reckoned as the model's whole context.

Source: `build_pos_bias`, `build_attn_mha` and `build_attn_inp_cross` of llama.cpp b10605. The sums count everything as
alive at once, with the gaps that its allocator was seen to leave: an upper bound, and for the contexts that T5 was made
for hardly more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from launchdeck.planning.allocator import aligned

if TYPE_CHECKING:
    from launchdeck.planning.hyperparameters import Hyperparameters

_FLOAT_BYTES = 4
_HALF_BYTES = 2
_DECODER = "t5"
_ENCODER = "t5encoder"
# Raw and in the order of the heads, the scores that they are added to, and a gap that can be as large.
_ALIVE_AT_ONCE = 4
# A piece of a graph is given at most 30 inputs (GGML_SCHED_MAX_SPLIT_INPUTS): embeddings and a mask besides.
BUCKETS_AT_ONCE = 28
# What lies in between: the tokens' own queries, keys and values, of both kinds of attention.
_ROWS_BESIDES = 6


@dataclass(frozen=True, slots=True)
class Biased:
    """Bytes: `inputs`, which every device has; `scratch` within the attention; `host` where the table lies in RAM.

    Of several GPUs that hold the whole model the one with the first block looks up the bias for all. For every block
    of the others scores and values are `handed_over` to it, and what was `found` in them goes back. `late_buckets` are
    those of layers that one GPU alone would not be given at the beginning.
    """

    inputs: int = 0
    scratch: int = 0
    host: int = 0
    handed_over: int = 0
    found: int = 0
    late_buckets: int = 0


@dataclass(frozen=True, slots=True)
class DistanceBias:
    """The sizes of a model. `value_length`: numbers in the values of one token; `encoded`: tokens of what it encoded,
    0 for an encoder.
    """

    n_layer: int
    n_head: int
    n_embd: int
    value_length: int
    encoded: int

    @classmethod
    def of(cls, hp: Hyperparameters) -> DistanceBias | None:
        """None for a model without."""
        if hp.architecture not in {_DECODER, _ENCODER}:
            return None
        return cls(
            n_layer=hp.n_layer,
            n_head=max(hp.n_head, default=0),
            n_embd=hp.n_embd,
            value_length=max(hp.n_head_kv, default=0) * max(hp.key_length, hp.value_length),
            encoded=hp.integer("context_length") if hp.architecture == _DECODER else 0,
        )

    def needs(self, tokens: int, cells: int, *, flash_attention: bool) -> Biased:
        """For this many tokens at once that look at this many cells of the cache, or of the batch itself."""
        seen_bytes = _HALF_BYTES if flash_attention else _FLOAT_BYTES
        places = _FLOAT_BYTES * tokens * cells
        bias = places * self.n_head
        own = _FLOAT_BYTES * tokens * max(self.n_embd, self.value_length) * _ROWS_BESIDES
        own += _FLOAT_BYTES * self.value_length * max(cells, tokens)
        return Biased(
            inputs=places + self.encoded * (_FLOAT_BYTES * self.n_embd + seen_bytes * tokens),
            scratch=_ALIVE_AT_ONCE * bias + own + self._cross_attention(tokens, flash_attention=flash_attention),
            host=2 * (bias + places),
            handed_over=aligned(bias) + aligned(_FLOAT_BYTES * max(tokens, cells) * self.value_length),
            found=aligned(_FLOAT_BYTES * tokens * self.value_length),
            late_buckets=aligned(places) * (self.n_layer if self.encoded else max(self.n_layer - BUCKETS_AT_ONCE, 0)),
        )

    def _cross_attention(self, tokens: int, *, flash_attention: bool) -> int:
        """Keys and values, and both in 16 bits; without flash attention the values turned over, and the scores."""
        values = _FLOAT_BYTES * self.value_length * self.encoded
        scores = 0 if flash_attention else _FLOAT_BYTES * self.n_head * tokens * self.encoded
        return 3 * values + scores
