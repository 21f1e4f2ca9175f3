"""What T5 needs besides: a number for every head, token and cell by their distance, which flash attention cannot add;
and where it decodes, attention to what it encoded, whose length is always reckoned as the model's whole context.

Source: `build_pos_bias`, `build_attn_mha` and `build_attn_inp_cross` of llama.cpp b10605. Where a GPU's steps are not
played through, the sums count everything as alive at once, with the gaps that its allocator was seen to leave: an upper
bound, and for the contexts that T5 was made for hardly more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from launchdeck.models.architectures.traits import RelativeBias
from launchdeck.models.gguf.ggml import BY_NAME
from launchdeck.planning.llama.replay.allocator import aligned
from launchdeck.planning.llama.replay.layers.attention import padded_cache_bytes

if TYPE_CHECKING:
    from launchdeck.planning.llama.hyperparameters import Hyperparameters
    from launchdeck.planning.llama.work import Work

_FLOAT = BY_NAME["f32"]
_FLOAT_BYTES = 4
_HALF_BYTES = 2
# Raw and in the order of the heads, the scores that they are added to, and a gap that can be as large.
_ALIVE_AT_ONCE = 4
# A split of a graph is given at most so many inputs (GGML_SCHED_MAX_SPLIT_INPUTS). Besides there are embeddings and a
# mask; for a decoder also places in the cache, what was encoded, and a mask for that.
_MOST_SPLIT_INPUTS = 30
_ENCODERS_INPUTS = 2
_DECODERS_INPUTS = 6
# What lies in between: the tokens' own queries, keys and values, of both kinds of attention.
_ROWS_BESIDES = 6


def blocks_at_once(encoded: int) -> int:
    """Count the layers for which a GPU with the whole model is given the places in the table at the beginning."""
    return _MOST_SPLIT_INPUTS - (_DECODERS_INPUTS if encoded else _ENCODERS_INPUTS)


@dataclass(frozen=True, slots=True)
class Biased:
    """What T5 needs besides, in bytes. Of several GPUs that hold the whole model the one with the first block looks up
    the bias for all.
    """

    is_shared: bool = False
    """All blocks use the table of the first."""
    inputs: int = 0
    """What every device has: places in the table, and what was encoded with its mask."""
    scratch: int = 0
    """What is alive within the attention besides."""
    host: int = 0
    """What the host needs where the table lies in RAM."""
    copied_there: int = 0
    """Places in the table, scores and values of each of the others' blocks, on the GPU that looks up."""
    copied_back: int = 0
    """The output that each of these blocks gets back."""
    buckets: int = 0
    """The places alone."""
    blocks_at_once: int = 0
    """For how many blocks a GPU gets these at the beginning."""


@dataclass(frozen=True, slots=True)
class DistanceBias:
    """The sizes of a model. `value_length`: numbers in the values of one token; `encoded`: tokens of what it encoded,
    0 for an encoder.
    """

    n_head: int
    n_embd: int
    value_length: int
    encoded: int
    is_shared: bool

    @classmethod
    def of(cls, hp: Hyperparameters) -> DistanceBias | None:
        """Read the sizes; None for a model without such a bias."""
        bias = hp.traits.relative_bias
        if bias is None:
            return None
        tables = sum(t.name.startswith(bias.value) and t.name.endswith(".attn_rel_b.weight") for t in hp.header.tensors)
        return cls(
            n_head=max(hp.n_head, default=0),
            n_embd=hp.n_embd,
            value_length=max(hp.n_head_kv, default=0) * max(hp.key_length, hp.value_length),
            encoded=hp.integer("context_length") if bias is RelativeBias.IN_DECODER else 0,
            is_shared=tables < hp.n_layer,
        )

    def needs(self, work: Work) -> Biased:
        """Add up what is needed where tokens look at the cells of the cache, or at each other."""
        tokens, cells, flash_attention = work.tokens, self._seen(work), work.flash_attention
        seen_bytes = _HALF_BYTES if flash_attention else _FLOAT_BYTES
        places = _FLOAT_BYTES * tokens * cells
        bias = places * self.n_head
        value = work.layout.type_v if self.encoded else _FLOAT
        values = aligned(padded_cache_bytes(value, self.value_length, cells, cells))
        own = _FLOAT_BYTES * tokens * max(self.n_embd, self.value_length) * _ROWS_BESIDES
        own += _FLOAT_BYTES * self.value_length * max(cells, tokens)
        return Biased(
            is_shared=self.is_shared,
            inputs=places + self.encoded * (_FLOAT_BYTES * self.n_embd + seen_bytes * tokens),
            scratch=_ALIVE_AT_ONCE * bias + own + self._cross_attention(tokens, flash_attention=flash_attention),
            host=2 * (bias + places),
            copied_there=aligned(places) + aligned(bias) + values,
            copied_back=aligned(_FLOAT_BYTES * tokens * self.value_length),
            buckets=aligned(places),
            blocks_at_once=blocks_at_once(self.encoded),
        )

    def _seen(self, work: Work) -> int:
        return work.cells.full if self.encoded else work.tokens

    def _cross_attention(self, tokens: int, *, flash_attention: bool) -> int:
        """Keys and values, and both in 16 bits; without flash attention the values transposed, and the scores."""
        values = _FLOAT_BYTES * self.value_length * self.encoded
        scores = 0 if flash_attention else _FLOAT_BYTES * self.n_head * tokens * self.encoded
        return 3 * values + scores
