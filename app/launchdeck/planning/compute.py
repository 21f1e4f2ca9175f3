"""How many bytes a model's graph needs while it works, as llama.cpp's `compute buffer size` lines count them.

llama.cpp reserves them for one batch of `n_ubatch` tokens with the whole cache in use. The closed forms were found by
varying one number at a time in its own accounting (build 10605): to the byte for models that are wholly on one GPU
(encoders and recurrent ones within a few MiB), and for dense ones on several. With layers left on the host their
weights and caches are copied to the first GPU while they are worked with, and its allocator leaves gaps of irregular
size: there the form is an approximation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from launchdeck.models.ggml import BY_NAME
from launchdeck.planning.activations import attention_floats_per_token, floats_per_token, layer_embeddings_length

if TYPE_CHECKING:
    from launchdeck.planning.hyperparameters import Hyperparameters
    from launchdeck.planning.kv import Cells, KvCache

_FLOAT_BYTES = 4
_HALF_BYTES = 2
_TOKEN_BYTES = 4
_PLACE_BYTES = 8
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
    """A GPU's part: how many blocks it has, whether it is the `first` GPU and whether it has the output layer (`last`).

    `pipeline`: several GPUs hold the whole model and work on several batches at once. Otherwise the first GPU also
    works with the `lent_blocks` that stay on the host; `lent_bytes` is the room for their weights, and
    `lent_experts_bytes` that for experts which stay there while the rest of their block does not.
    """

    blocks: int
    first: bool
    last: bool
    pipeline: bool
    lent_blocks: int
    lent_bytes: int
    lent_experts_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Graph:
    """The sizes that make up the buffers, in bytes. All devices' buffers follow from them.

    `row`: one number for each token and each of the model's dimensions; `inputs`: positions, places in the cache and
    masks; `layer`: the most that is alive at once within a layer; `attention`: the same within its attention alone;
    `lent_cache`: a copy of a layer's cache, and `keeps_two_keys` where the next layer's keys find no place in what the
    last ones left; `output`: the results, which `outputs` counts; `host_only`: the tokens' numbers and, in models that
    have them, the embeddings of every layer.
    """

    row: int
    inputs: int
    layer: int
    attention: int
    lent_cache: int
    output: int
    host_only: int
    outputs: int
    keeps_two_keys: bool

    def gpu_bytes(self, role: Role) -> int:
        """Bytes on one GPU. The first has some even without layers: it is lent those of the host."""
        output = self.output if role.last else 0
        if not role.blocks and not role.first:
            return output
        inputs = self.inputs + (_padded(_TOKEN_BYTES * self.outputs, _ALIGNMENT) if role.last else 0)
        if role.pipeline:
            entering = _PIPELINE_COPIES * (1 if role.first else 2) * self.row
            return max(_PIPELINE_COPIES * inputs + self.layer + entering, output)
        if role.first:
            layer = self._lent_layer(role) if role.lent_blocks else self.layer
            if role.lent_experts_bytes:
                layer = max(layer, self.layer + self.row + role.lent_experts_bytes)
        else:
            layer = self.attention if role.last and role.blocks == 1 else self.layer - self.row
        return max(inputs + layer, output)

    def _lent_layer(self, role: Role) -> int:
        """The most that is alive within one of the host's layers, with a copy of its weights or of its cache."""
        cache = self.lent_cache
        if self.keeps_two_keys and role.lent_blocks > 1:
            cache += cache // 2
        return max(self.layer + self.row + role.lent_bytes, cache + self.attention + self.row)

    def host_bytes(self, *, pipeline: bool) -> int:
        """Bytes of the host's buffer beside GPUs: the inputs, and the embeddings on their way in and out."""
        return 2 * self.row + self._host_inputs * (_PIPELINE_COPIES if pipeline else 1)

    def host_alone_bytes(self) -> int:
        """Bytes of the host's buffer without any GPU."""
        return max(self._host_inputs + self.layer, self.output) + self.row

    @property
    def _host_inputs(self) -> int:
        return self.inputs + self.host_only + _padded(_TOKEN_BYTES * self.outputs, _HOST_ALIGNMENT)


class ComputeBuffers:
    """What one model's graph needs, for any work."""

    def __init__(self, hp: Hyperparameters, cache: KvCache) -> None:
        self._n_embd = hp.n_embd
        self._head_lengths = (hp.key_length, hp.value_length)
        self._has_window = cache.has_window
        self._n_head = max(hp.n_head, default=0)
        self._attention_floats = attention_floats_per_token(hp)
        self._host_bytes_per_token = _TOKEN_BYTES
        if length := layer_embeddings_length(hp):
            self._host_bytes_per_token += _TOKEN_BYTES + _FLOAT_BYTES * length
        self._n_value = max((v for _, v in cache.rows), default=0)
        self._n_key_value = max((k + v for k, v in cache.rows), default=0)
        # An encoder, without a cache, gives no logits; a recurrent model, without heads, does.
        self._n_logits = hp.n_vocab if self._n_key_value or not self._n_head else 0
        self._floats = floats_per_token(hp)
        self._wide_keys = max((k for k, _ in cache.rows), default=0) >= hp.n_embd

    def graph(self, work: Work) -> Graph:
        """The sizes for this work."""
        row = _FLOAT_BYTES * work.tokens * self._n_embd
        attention = self._scratch_bytes(work) + _FLOAT_BYTES * work.tokens * self._attention_floats
        layer = max(_FLOAT_BYTES * work.tokens * self._floats, attention)
        lent_cache = _HALF_BYTES * work.cells.full * self._n_key_value
        return Graph(
            row=row,
            inputs=self._input_bytes(work),
            layer=layer,
            attention=attention,
            lent_cache=lent_cache,
            output=_FLOAT_BYTES * work.outputs * (self._n_logits + self._n_embd),
            host_only=self._host_bytes_per_token * work.tokens,
            outputs=work.outputs,
            # Measured; with narrower keys than the model itself is they do find a place.
            keeps_two_keys=self._wide_keys and lent_cache // 2 > layer,
        )

    def _input_bytes(self, work: Work) -> int:
        """Positions, places in the cache, and for every pair of token and cell whether the one sees the other."""
        seen_bytes = _HALF_BYTES if work.flash_attention else _FLOAT_BYTES
        if not self._n_key_value:
            masks = (2 if self._has_window else 1) if self._n_head else 0
            return work.tokens * (masks * seen_bytes * work.tokens + _TOKEN_BYTES)
        # Without flash attention values are stored number by number, each with its own place.
        values = min(self._n_value, 1) if work.flash_attention else self._n_value
        places = _PLACE_BYTES * (1 + values)
        size = work.tokens * (seen_bytes * work.cells.full // work.cells.streams + places + _TOKEN_BYTES)
        if self._has_window:
            size += work.tokens * (seen_bytes * work.cells.window // work.cells.streams + places)
        return size + self._rotation_bytes(work)

    def _rotation_bytes(self, work: Work) -> int:
        """Quantised keys and values are rotated by matrices of 64, 128, ... up to the length of a head."""
        types = (work.type_k, work.type_v)
        rotated = [
            length
            for length, name in zip(self._head_lengths, types, strict=True)
            if BY_NAME[name].is_quantised and length % _SMALLEST_ROTATION == 0
        ]
        size, total = _SMALLEST_ROTATION, 0
        while rotated and size <= max(rotated):
            total += _FLOAT_BYTES * size * size
            size *= 2
        return total

    def _scratch_bytes(self, work: Work) -> int:
        """Without flash attention the scores of all cells; with it a copy of a quantised cache in 16 bits."""
        if not work.flash_attention:
            return _FLOAT_BYTES * work.tokens * (work.cells.full // work.cells.streams) * self._n_head
        if BY_NAME[work.type_k].is_quantised or BY_NAME[work.type_v].is_quantised:
            return _HALF_BYTES * work.cells.full * self._n_key_value
        return 0


def _padded(size: int, multiple: int) -> int:
    return -(-size // multiple) * multiple
