"""How many numbers a token needs at the most crowded moment within a layer.

Found by varying one size at a time in llama.cpp's own accounting; they follow from its allocator, which reuses the
space of what is done with.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from launchdeck.planning.llama.hyperparameters import Hyperparameters

# Measured: 6 for Mamba, 7.2 for Mamba 2, 6.9 for Falcon-H1 times the inner size.
_RECURRENT = 7
_LATE_NORMS = frozenset({"ffn_norm", "post_attention_norm", "post_ffw_norm", "attn_output_norm"})


def floats_per_token(hp: Hyperparameters) -> int:
    """Count the feed-forward part's own, and beside them what goes past it and into it, and the query's old place."""
    parts = Parts.of(hp)
    query = _query(hp, parts)
    sizes = [_dense(parts), 3 * parts.length("ffn_up_shexp"), _experts(hp, parts, query)]
    if hp.integer("ssm.inner_size"):
        sizes.append(_RECURRENT * hp.integer("ssm.inner_size") - 2 * hp.n_embd - query)
    beside = _LATE_NORMS.isdisjoint(parts.shapes)
    return max(sizes) + (3 if beside else 2) * hp.n_embd + query + _streams(hp)


def product_floats_per_token(hp: Hyperparameters) -> int:
    """Count what of these is not there yet while a layer's last matrix is copied: the product of gate and up."""
    parts = Parts.of(hp)
    experts = hp.integer("expert_used_count") * parts.shapes.get("ffn_down_exps", (0,))[0] * _gated_experts(parts)
    return max(experts, parts.shapes.get("ffn_down", (0,))[0] * ("ffn_gate" in parts.shapes))


@dataclass(frozen=True)
class Parts:
    """The weights of a layer, `attn_q` and so on, with the largest shape that one has in any layer."""

    shapes: Mapping[str, tuple[int, ...]]

    @classmethod
    def of(cls, hp: Hyperparameters) -> Parts:
        shapes: dict[str, tuple[int, ...]] = {}
        for tensor in hp.header.tensors:
            stem, _, kind = tensor.name.rpartition(".")
            _, _, part = stem.partition("blk.")
            name = part.partition(".")[2]
            if kind == "weight" and name:
                shapes[name] = max(shapes.get(name, ()), tensor.shape)
        return cls(shapes)

    def length(self, name: str) -> int:
        """Count the numbers that come out of this matrix for each token, 0 where there is none."""
        shape = self.shapes.get(name, ())
        return shape[1] if len(shape) > 1 else 0


def query_length(hp: Hyperparameters) -> int:
    """Count the numbers of a token's query in the widest layer."""
    return max(hp.n_head, default=0) * hp.key_length


def attention_floats_per_token(hp: Hyperparameters) -> int:
    """Count the query and its result, what goes past the attention and into it; with MLA its compressed form, too."""
    query = query_length(hp)
    if key_length := hp.integer("attention.key_length_mla"):
        return 2 * query + max(hp.n_head, default=0) * key_length + 3 * hp.n_embd
    return 2 * (hp.n_embd + query)


def layer_embeddings_length(hp: Hyperparameters) -> int:
    """Count the numbers that a token has for the layers to come, in models with embeddings for each layer."""
    return hp.integer("embedding_length_per_layer_input", hp.traits.layer_embedding_length) * hp.n_layer


def crossing_rows(hp: Hyperparameters) -> tuple[int, int]:
    """Count the embeddings of a token that come to the first device from the host, and to each from the one before it.

    Gemma 3n has four streams. The last device makes them, from the embedding, and unites them again at the end; each
    part of them that is looked at by itself comes as a copy of its own. Measured: 9.5; 8.8 to the last device, and to
    those in between 4 or 8.8.
    """
    return (10, 9) if hp.traits.streams > 1 else (1, 2)


def _streams(hp: Hyperparameters) -> int:
    """What goes past the layer besides: Gemma 3n has three more streams, each with its prediction."""
    return 2 * (hp.traits.streams - 1) * hp.n_embd


def _query(hp: Hyperparameters, parts: Parts) -> int:
    fused = "attn_qkv" in parts.shapes and "attn_q" not in parts.shapes
    if fused or "attn_output_norm" in parts.shapes or "shortconv.conv" in parts.shapes:
        return 0  # a part of what is there anyway, or gone before the feed-forward part
    if value_length := hp.integer("attention.value_length_mla"):
        return max(hp.n_head, default=0) * value_length
    return query_length(hp)


def _dense(parts: Parts) -> int:
    """Gate, up and their product; the same with gate and up in one; or up alone, changed in its place."""
    up, down = parts.length("ffn_up"), parts.shapes.get("ffn_down", (0,))[0]
    if "ffn_gate" in parts.shapes:
        return 3 * up
    return up + down if up == 2 * down else up


def _experts(hp: Hyperparameters, parts: Parts, query: int) -> int:
    """As in a dense layer, for every expert that is used; their results come where gate and up were, if they fit."""
    inner_of_one = parts.shapes.get("ffn_down_exps", (0,))[0]
    if not inner_of_one:
        return 0
    used = hp.integer("expert_used_count")
    inner = used * inner_of_one
    results = used * hp.n_embd
    if not _gated_experts(parts):
        return inner + results
    size = 2 * inner if inner <= query else 3 * inner
    if results > 2 * inner:
        size += results
    if hp.traits.weighs_before_experts:
        size += results + used
    return size


def _gated_experts(parts: Parts) -> bool:
    return not {"ffn_gate_exps", "ffn_gate_up_exps"}.isdisjoint(parts.shapes)
