"""A model's weights as vLLM loads them: sums over the blocks, divided among the GPUs of a tensor-parallel group."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from launchdeck.models.safetensors.safetensors import SafetensorsHeader
    from launchdeck.models.safetensors.safetensors_file import SafeTensor

_BLOCK_NUMBER = re.compile(r"(?:^|\.)(?:layers?|h|blocks?)\.(\d+)\.")
# What every GPU of a tensor-parallel group holds whole: norms and biases, what projects into a latent, routers, places.
_WHOLE = re.compile(r"norm|_a_proj|\.gate\.|router|position_embeddings|token_type_embeddings")
_KV_HEADS = re.compile(r"\.[kv]_proj\.")
_HEAD = re.compile(r"(?:^|\.)lm_head\.")
_EMBEDDING = re.compile(r"embed_tokens\.|word_embeddings\.|wte\.|tok_embeddings\.")
# What predicts more than one token ahead: a part of its own, or blocks after the last one that the config counts.
_DRAFT = re.compile(r"(?:model\.)?mtp\.")
_DECODER = re.compile(r"(?:model\.)?(?:language_model\.)?(?:model\.)?layers\.")
_FLOATS = frozenset({"F16", "BF16", "F32", "F64"})


@dataclass(frozen=True, slots=True)
class LoadedBytes:
    """Of one tensor or a sum of them: what is divided among the GPUs of a tensor-parallel group, and what is not."""

    divided: int = 0
    by_kv_heads: int = 0
    whole: int = 0

    def __add__(self, other: LoadedBytes) -> LoadedBytes:
        return LoadedBytes(self.divided + other.divided, self.by_kv_heads + other.by_kv_heads, self.whole + other.whole)

    def on_each(self, tensor_parallel: int, n_head_kv: int) -> int:
        """Add up one GPU's share. It holds whole heads, so with more GPUs than heads some are held several times."""
        heads = math.ceil(n_head_kv / tensor_parallel)
        return -(-self.divided // tensor_parallel) + self.by_kv_heads * heads // n_head_kv + self.whole


@dataclass(frozen=True, slots=True)
class WeightSums:
    """Bytes as they are loaded: before the first block, up to each block, and after the last."""

    until: tuple[LoadedBytes, ...]
    first: LoadedBytes
    last: LoadedBytes
    is_tied: bool

    def between(self, first: int, end: int) -> LoadedBytes:
        low, high = self.until[first], self.until[end]
        return LoadedBytes(high.divided - low.divided, high.by_kv_heads - low.by_kv_heads, high.whole - low.whole)

    @classmethod
    def of(cls, header: SafetensorsHeader, dtype_bytes: int) -> WeightSums:
        count = header.config.n_layer or 0
        has_head = any(_HEAD.search(tensor.name) for tensor in header.tensors)
        is_tied = bool(header.config.tied_embeddings) or not has_head
        blocks = [LoadedBytes()] * count
        first, last = LoadedBytes(), LoadedBytes()
        for tensor in header.tensors:
            match = _BLOCK_NUMBER.search(tensor.name)
            if (is_tied and _HEAD.search(tensor.name)) or _is_draft(tensor.name, match, count):
                continue  # written twice, loaded once; or not loaded at all
            size = _loaded(tensor, dtype_bytes, is_quantised=header.config.quantisation is not None)
            if match and int(match[1]) < count:
                blocks[int(match[1])] += size
            elif _EMBEDDING.search(tensor.name):
                first += size
            else:
                last += size
        return cls(tuple(accumulate(blocks, initial=LoadedBytes())), first, last, is_tied)


def _is_draft(name: str, block: re.Match[str] | None, count: int) -> bool:
    """Whether this predicts the tokens after the next: vLLM loads such blocks for speculative decoding alone."""
    return bool(_DRAFT.match(name) or (block and int(block[1]) >= count and _DECODER.match(name)))


def _loaded(tensor: SafeTensor, dtype_bytes: int, *, is_quantised: bool) -> LoadedBytes:
    """Plain numbers are loaded in the chosen type; what a quantisation has packed, and its scales, stay as they are."""
    size = tensor.n_bytes
    if tensor.type in _FLOATS and not (is_quantised and tensor.type == "F32"):
        size = tensor.element_count * dtype_bytes
    if len(tensor.shape) < 2 or _WHOLE.search(tensor.name):
        return LoadedBytes(whole=size)
    return LoadedBytes(by_kv_heads=size) if _KV_HEADS.search(tensor.name) else LoadedBytes(divided=size)
