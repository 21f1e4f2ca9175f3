"""Whether a GPU can compute a model's attention in one go (flash attention), as llama.cpp's CUDA backend has it.

Where it cannot, `--flash-attn auto` gives it up for all layers, and the scores of all heads need room; where it is
forced, by the option or by quantised values, the CPU computes the attention of layers that are on a GPU.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from launchdeck.planning.llama.attention import attending_layers, reads_cache, reused_layers, window

if TYPE_CHECKING:
    from launchdeck.planning.llama.hyperparameters import Hyperparameters

# Source: `ggml_cuda_get_best_fattn_kernel` of llama.cpp b10605, which ROCm builds share. Builds with
# GGML_CUDA_FA_ALL_QUANTS can do more, which nothing tells.
CACHE_TYPES = ("f16", "q8_0", "q4_0", "bf16", "f32")
_LENGTHS = frozenset({40, 64, 72, 80, 96, 112, 128, 256})
# By the lengths of keys and values: of what the number of heads that share a key has to be a multiple.
_SHARED_BY = {(192, 128): 8, (320, 256): 32}
# Two heads at least have to share a key, whatever their number.
_SHARED = frozenset({(512, 512), (576, 512)})


class Head(NamedTuple):
    """Numbers of a key and of a value, and how many heads share them."""

    key: int
    value: int
    shared_by: int

    @property
    def is_fused(self) -> bool:
        lengths = (self.key, self.value)
        if lengths in _SHARED:
            return self.shared_by > 1
        if lengths in _SHARED_BY:
            return self.shared_by % _SHARED_BY[lengths] == 0
        return self.key == self.value and self.key in _LENGTHS


class FusedAttention:
    """What of a model's attention a GPU can compute in one go. `has_different_layers`: not all attend, or some read
    the cache of others.
    """

    def __init__(self, hp: Hyperparameters) -> None:
        attending = attending_layers(hp)[: hp.n_layer]
        reuses_cache = any(layer != source for layer, source in enumerate(reused_layers(hp)))
        self._reads_cache = reads_cache(hp)
        self.has_different_layers = reuses_cache or (any(attending) and not all(attending))
        layers = zip(attending, hp.n_head, hp.n_head_kv, window(hp).layers, strict=False)
        heads = {
            (hp.head_lengths(in_window=slides), n // max(n_kv, 1)) for attends, n, n_kv, slides in layers if attends
        }
        self._heads = frozenset(Head(*lengths, shared_by) for lengths, shared_by in heads)

    @property
    def knows_heads(self) -> bool:
        """Whether it can be done with some types of the cache."""
        return all(head.is_fused for head in self._heads)

    def knows_cache(self, type_k: str, type_v: str) -> bool:
        """Tell whether a cache of these types can be read. Encoders read none."""
        return not self._reads_cache or (type_k == type_v and type_k in CACHE_TYPES)
