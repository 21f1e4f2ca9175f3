"""How many bytes a model's graph needs while it works, as llama.cpp's `compute buffer size` lines count them.

llama.cpp reserves them for one batch of `n_ubatch` tokens with the whole cache in use. The closed forms were found by
varying one number at a time in its own accounting (build 10605): to the byte for dense models that are wholly on GPUs,
close for others. With layers left on the host their weights and caches are copied to the first GPU while they are
worked with, and its allocator leaves gaps of irregular size: there the form is an approximation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from launchdeck.models.ggml import BY_NAME
from launchdeck.planning.activations import floats_per_token

if TYPE_CHECKING:
    from launchdeck.planning.hyperparameters import Hyperparameters
    from launchdeck.planning.kv import Cells, KvCache

_FLOAT_BYTES = 4
_POSITION_AND_KEY_PLACE_BYTES = 12
_VALUE_PLACE_BYTES = 8
_TOKEN_BYTES = 4
_ALIGNMENT = 128
_HOST_ALIGNMENT = 64
_PIPELINE_COPIES = 4
_SMALLEST_ROTATION = 64


@dataclass(frozen=True, slots=True)
class Work:
    """What the graph is reserved for."""

    tokens: int
    outputs: int
    cells: Cells
    type_k: str
    type_v: str
    flash_attention: bool


@dataclass(frozen=True, slots=True)
class Role:
    """A GPU's part. `first` and `last` are those that have layers; `partial`: some layers stay on the host;
    `pipeline`: several GPUs hold the whole model and work on several batches at once.
    """

    first: bool
    last: bool
    partial: bool
    pipeline: bool


class ComputeBuffers:
    """The compute buffers of one model."""

    def __init__(self, hp: Hyperparameters, cache: KvCache, largest_weight_bytes: int) -> None:
        self._hp = hp
        self._cache = cache
        self._largest_weight_bytes = largest_weight_bytes
        self._floats = floats_per_token(hp)
        self._n_head = max(hp.n_head, default=0)
        self._n_query = self._n_head * hp.key_length
        self._n_value = max((v for _, v in cache.rows), default=0)
        self._kv_row = max((k + v for k, v in cache.rows), default=0)

    def gpu_bytes(self, work: Work, role: Role) -> int:
        """Bytes on one GPU that has layers (or, `partial` and first, may be lent some)."""
        row = _FLOAT_BYTES * work.tokens * self._hp.n_embd
        inputs = self._input_bytes(work)
        chosen_rows = _padded(_TOKEN_BYTES * work.outputs, _ALIGNMENT) if role.last else 0
        peak = max(self._layer_bytes(work), self._output_bytes(work) if role.last else 0)
        if role.pipeline:
            return _PIPELINE_COPIES * (inputs + chosen_rows + (1 if role.first else 2) * row) + peak
        if not role.first:
            return inputs + chosen_rows + peak - row
        if not role.partial:
            return inputs + chosen_rows + peak
        borrowed = peak + row + self._largest_weight_bytes // 2
        return inputs + chosen_rows + max(borrowed, self._borrowed_cache_bytes(work))

    def host_bytes(self, work: Work, *, pipeline: bool) -> int:
        """Bytes of the host's buffer beside GPUs: the inputs, and the embeddings on their way in and out."""
        row = _FLOAT_BYTES * work.tokens * self._hp.n_embd
        chosen_rows = _padded(_TOKEN_BYTES * work.outputs, _HOST_ALIGNMENT)
        inputs = self._input_bytes(work) + _TOKEN_BYTES * work.tokens + chosen_rows
        return 2 * row + inputs * (_PIPELINE_COPIES if pipeline else 1)

    def host_alone_bytes(self, work: Work) -> int:
        """Bytes of the host's buffer without any GPU."""
        peak = max(self._layer_bytes(work), self._output_bytes(work))
        return self._input_bytes(work) + _TOKEN_BYTES * work.tokens + _padded(_TOKEN_BYTES * work.outputs, 64) + peak

    def _input_bytes(self, work: Work) -> int:
        """Positions, places in the cache, and for every pair of token and cell whether the one sees the other."""
        if not self._kv_row:
            return _FLOAT_BYTES * work.tokens * (work.tokens + 1)
        mask_element_bytes = 2 if work.flash_attention else 4
        streams = work.cells.streams
        values = 1 if work.flash_attention else self._n_value
        places = _POSITION_AND_KEY_PLACE_BYTES + _VALUE_PLACE_BYTES * values
        size = work.tokens * (mask_element_bytes * work.cells.full // streams + places)
        if self._cache.has_window:
            places -= _TOKEN_BYTES
            size += work.tokens * (mask_element_bytes * work.cells.window // streams + places)
        return size + self._rotation_bytes(work)

    def _rotation_bytes(self, work: Work) -> int:
        """Quantised keys and values are rotated by matrices of 64, 128, ... up to the length of a head."""
        rotated = [
            length
            for name, length in ((work.type_k, self._hp.key_length), (work.type_v, self._hp.value_length))
            if BY_NAME[name].is_quantised and length % _SMALLEST_ROTATION == 0
        ]
        size, total = _SMALLEST_ROTATION, 0
        while rotated and size <= max(rotated):
            total += _FLOAT_BYTES * size * size
            size *= 2
        return total

    def _layer_bytes(self, work: Work) -> int:
        """The most that is alive at once within a layer: in its feed-forward part, or in its attention."""
        feed_forward = _FLOAT_BYTES * work.tokens * self._floats
        scratch = 0
        if not work.flash_attention:
            scratch = _FLOAT_BYTES * work.tokens * (work.cells.full // work.cells.streams) * self._n_head
        elif BY_NAME[work.type_k].is_quantised or BY_NAME[work.type_v].is_quantised:
            scratch = 2 * work.cells.full * self._kv_row
        return max(feed_forward, scratch + self._attention_bytes(work))

    def _attention_bytes(self, work: Work) -> int:
        return 2 * _FLOAT_BYTES * work.tokens * (self._hp.n_embd + self._n_query)

    def _output_bytes(self, work: Work) -> int:
        return _FLOAT_BYTES * work.outputs * (self._hp.n_vocab + self._hp.n_embd)

    def _borrowed_cache_bytes(self, work: Work) -> int:
        """A layer's cache copied to the GPU; its key or its value may come to lie beside that of the layer before."""
        cache = work.cells.full * self._kv_row * 2
        return cache + cache // 4 + self._attention_bytes(work)


def _padded(size: int, multiple: int) -> int:
    return -(-size // multiple) * multiple
