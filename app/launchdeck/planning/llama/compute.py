"""How many bytes a model's graph needs while it works, as llama.cpp's `compute buffer size` lines count them.

llama.cpp reserves them for one batch of `n_ubatch` tokens with the whole cache in use. Where a layer's steps are
known, they are played through (see `rehearsal`), and the numbers are llama.cpp's own to the byte. The closed forms are
for all others: they were found by varying one number at a time in its accounting (build 10605), and are exact for most
models; but with layers left on the host, whose weights and caches are copied to the first GPU, an approximation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from launchdeck.models.architectures.traits import Cut, Purpose
from launchdeck.planning.llama.activations import (
    attention_floats_per_token,
    crossing_rows,
    floats_per_token,
    layer_embeddings_length,
    product_floats_per_token,
)
from launchdeck.planning.llama.attention import indexed_layers, reads_cache
from launchdeck.planning.llama.replay.blocks import Blocks
from launchdeck.planning.llama.replay.graph import ALIGNMENT, ByKind, Crossing, Graph, padded
from launchdeck.planning.llama.replay.layers.distance_bias import Biased, DistanceBias
from launchdeck.planning.llama.replay.rehearsals import Rehearsals

if TYPE_CHECKING:
    from launchdeck.planning.llama.hyperparameters import Hyperparameters
    from launchdeck.planning.llama.kv import KvCache
    from launchdeck.planning.llama.replay.graph import Role
    from launchdeck.planning.llama.work import Work

FORMS_VERSION = 4
"""Raised when what is computed here changes: then kept differences to the engine's own account mean nothing."""

_FLOAT_BYTES = 4
_HALF_BYTES = 2
_TOKEN_BYTES = 4
_PLACE_BYTES = 8
_SMALLEST_ROTATION = 64
_OUTPUT_NORMS = frozenset({"dec.output_norm.weight", "enc.output_norm.weight", "output_norm.weight"})


class ComputeBuffers:
    """What one model's graph needs, for any work. `whole` is the part of a device that has all of it."""

    def __init__(self, hp: Hyperparameters, cache: KvCache, whole: Role) -> None:
        self._n_embd = hp.n_embd
        self._whole = whole
        self._head_lengths = (hp.key_length, hp.value_length)
        self._n_head = max(hp.n_head, default=0)
        self._attention_floats = attention_floats_per_token(hp)
        self._layer_embeddings = layer_embeddings_length(hp)
        self._n_layer = max(hp.n_layer, 1)
        self._crossing_rows = crossing_rows(hp)
        rows = cache.rows if reads_cache(hp) else []
        self._n_value = max((v for _, v in rows), default=0)
        self._n_key_value = max((k + v for k, v in rows), default=0)
        self._n_key = self._n_key_value - self._n_value
        # An encoder, without a cache, gives no logits; a recurrent model, without heads, does.
        gives_logits = self._n_key_value or not self._n_head or hp.traits.purpose is Purpose.DIFFUSION
        self._n_logits = hp.n_vocab if gives_logits else 0
        self._norms_output = any(tensor.name in _OUTPUT_NORMS for tensor in hp.header.tensors)
        self._floats = floats_per_token(hp)
        self._product_floats = product_floats_per_token(hp)
        self._cuts_late = hp.traits.cut is not Cut.IN_LAST_LAYER
        self._copies_all_rows = hp.traits.cut is Cut.AFTER_OUTPUT_NORM
        self._distance_bias = DistanceBias.of(hp)
        self.gives_all_results = hp.traits.all_results
        self._has_index = not self._n_value and any(indexed_layers(hp))
        self._blocks = Blocks(hp, cache, cuts_late=self._cuts_late)
        self._wide_keys = max((k for k, _ in rows), default=0) >= hp.n_embd

    def graph(self, work: Work) -> Graph:
        """Add up the sizes for this work."""
        row = _FLOAT_BYTES * work.tokens * self._n_embd
        scratch = ByKind(self._scratch_bytes(work, work.cells.full), self._scratch_bytes(work, work.cells.window))
        attention = _FLOAT_BYTES * work.tokens * self._attention_floats
        feed_forward = _FLOAT_BYTES * work.tokens * self._floats
        offloaded_cache = _HALF_BYTES * work.cells.full * self._n_key_value
        layer_embeddings = _FLOAT_BYTES * work.tokens * self._layer_embeddings
        first, following = self._crossing_rows
        biased = self._biased(work)
        rotation = self._rotation_bytes(work) if self._n_key_value else 0
        return Graph(
            row=row,
            inputs=_TOKEN_BYTES * work.tokens + rotation + biased.inputs,
            seen=ByKind(self._seen_bytes(work, work.cells.full), self._seen_bytes(work, work.cells.window)),
            feed_forward=feed_forward,
            product=_FLOAT_BYTES * work.tokens * self._product_floats,
            attention=attention + biased.scratch,
            scratch=scratch,
            offloaded_cache=offloaded_cache,
            output=sum(
                padded(_FLOAT_BYTES * work.outputs * length, ALIGNMENT) for length in (self._n_logits, self._n_embd)
            ),
            layer_embeddings=layer_embeddings,
            host_only=(2 if layer_embeddings else 1) * _TOKEN_BYTES * work.tokens + layer_embeddings,
            outputs=work.outputs,
            logits=padded(_FLOAT_BYTES * work.outputs * self._n_logits, ALIGNMENT),
            norms_output=self._norms_output,
            keeps_two_keys=self._wide_keys,
            crossing=Crossing(
                first=first * row + layer_embeddings,
                next=following * row + layer_embeddings,
                block=layer_embeddings // self._n_layer,
                output=self._output_crossing_bytes(work, row, following * row + layer_embeddings),
            ),
            biased=biased,
            whole=self._whole,
            rehearsals=Rehearsals(self._blocks, work, copies_all_rows=self._copies_all_rows),
            keeps_norm=self._copies_all_rows and work.outputs < work.tokens,
        )

    def _biased(self, work: Work) -> Biased:
        if self._distance_bias is None:
            return Biased()
        return self._distance_bias.needs(work)

    def _output_crossing_bytes(self, work: Work, row: int, streams: int) -> int:
        if self._crossing_rows[0] > 1:
            return streams
        if self._copies_all_rows:
            return row
        return padded(_FLOAT_BYTES * work.outputs * self._n_embd, ALIGNMENT)

    def _seen_bytes(self, work: Work, cells: int) -> int:
        """Places in the cache, and for every pair of token and cell whether the one sees the other."""
        seen_bytes = _HALF_BYTES if work.flash_attention else _FLOAT_BYTES
        if not self._n_key_value:
            return work.tokens * seen_bytes * work.tokens
        # Without flash attention values are stored number by number, each with its own place.
        values = self._n_value if work.layout.transposed else min(self._n_value, 1)
        masks = seen_bytes + (_HALF_BYTES if self._has_index else 0)
        return work.tokens * (masks * cells // work.cells.streams + _PLACE_BYTES * (1 + values))

    def _rotation_bytes(self, work: Work) -> int:
        """Quantised keys and values are rotated by matrices of 64, 128, ... up to the length of a head."""
        types = (work.layout.type_k, work.layout.type_v)
        rotated = [
            length
            for length, stored in zip(self._head_lengths, types, strict=True)
            if stored.is_quantised and length % _SMALLEST_ROTATION == 0
        ]
        size, total = _SMALLEST_ROTATION, 0
        while rotated and size <= max(rotated):
            total += _FLOAT_BYTES * size * size
            size *= 2
        return total

    def _scratch_bytes(self, work: Work, cells: int) -> int:
        """Without flash attention the scores of all cells; with it a copy in 16 bits of a cache in others."""
        if self._distance_bias is not None:
            return 0  # counted there
        if not work.flash_attention:
            seen = cells // work.cells.streams if self._n_key_value else work.tokens
            return _FLOAT_BYTES * work.tokens * seen * self._n_head
        key, value = work.layout.type_k, work.layout.type_v
        if copied := self._n_key * (not key.has_16_bits) + self._n_value * (not value.has_16_bits):
            return _HALF_BYTES * cells * copied
        # An indexer scores all cells; half of it finds a place in what is there anyway. Measured.
        return _HALF_BYTES * work.tokens * cells if self._has_index else 0
