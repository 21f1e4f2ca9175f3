"""How many numbers a token needs at the most crowded moment within a layer.

Found by varying one size at a time in llama.cpp's own accounting; they follow from its allocator, which reuses the
space of what is done with.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from launchdeck.planning.hyperparameters import Hyperparameters

# Measured: 6 for Mamba, 7.2 for Mamba 2, 6.9 for Falcon-H1 times the inner size.
_RECURRENT = 7
_GEMMA3N_LAYER_EMBEDDING = 256
_LATE_NORMS = frozenset({"ffn_norm", "post_attention_norm", "post_ffw_norm", "attn_output_norm"})


def floats_per_token(hp: Hyperparameters) -> int:
    """The feed-forward part's own, and beside them what goes past it, what goes into it, and the query's old place."""
    parts = {tensor.name.partition(".")[2].partition(".")[2] for tensor in hp.header.tensors}
    query = _query(hp, parts)
    sizes = [0]
    if "ffn_up.weight" in parts:
        sizes.append(_products(hp, parts) * max(hp.n_ff, default=0))
    if "ffn_up_shexp.weight" in parts:
        sizes.append(3 * _shared_length(hp))
    if "ffn_up_exps.weight" in parts or "ffn_gate_up_exps.weight" in parts:
        sizes.append(_experts(hp, query))
    if hp.integer("ssm.inner_size"):
        sizes.append(_RECURRENT * hp.integer("ssm.inner_size") - 2 * hp.n_embd - query)
    beside = _LATE_NORMS.isdisjoint(name.removesuffix(".weight") for name in parts)
    return max(sizes) + (3 if beside else 2) * hp.n_embd + query + _streams(hp)


def query_length(hp: Hyperparameters) -> int:
    """Numbers of a token's query in the widest layer."""
    return max(hp.n_head, default=0) * hp.key_length


def attention_floats_per_token(hp: Hyperparameters) -> int:
    """The query and its result, what goes past the attention and into it; with MLA in its compressed form as well."""
    query = query_length(hp)
    if key_length := hp.integer("attention.key_length_mla"):
        return 2 * query + max(hp.n_head, default=0) * key_length + 3 * hp.n_embd
    return 2 * (hp.n_embd + query)


def layer_embeddings_length(hp: Hyperparameters) -> int:
    """Numbers that a token brings along for the layers to come, in models with embeddings for each layer."""
    default = _GEMMA3N_LAYER_EMBEDDING if hp.architecture == "gemma3n" else 0
    return hp.integer("embedding_length_per_layer_input", default) * hp.n_layer


def crossing_rows(hp: Hyperparameters) -> tuple[int, int, int]:
    """How many embeddings of a token come to the first device from the host, to the middle ones and to the last.

    Gemma 3n has four streams. The last device makes them, from the embedding, and unites them again at the end; each
    part of them that is looked at by itself comes as a copy of its own. Measured: 9.5, 4 and 8.8.
    """
    return (10, 4, 9) if hp.architecture == "gemma3n" else (1, 2, 2)


def _streams(hp: Hyperparameters) -> int:
    """What goes past the layer besides: Gemma 3n has three more streams, each with its prediction."""
    return 6 * hp.n_embd if hp.architecture == "gemma3n" else 0


def _query(hp: Hyperparameters, parts: set[str]) -> int:
    fused = "attn_qkv.weight" in parts and "attn_q.weight" not in parts
    if fused or "attn_output_norm.weight" in parts or "shortconv.conv.weight" in parts:
        return 0  # a part of what is there anyway, or gone before the feed-forward part
    if value_length := hp.integer("attention.value_length_mla"):
        return max(hp.n_head, default=0) * value_length
    return query_length(hp)


def _products(hp: Hyperparameters, parts: set[str]) -> int:
    """Gate, up and their product; the same with gate and up in one; or up alone, changed in its place."""
    if "ffn_gate.weight" in parts:
        return 3
    up = next(tensor for tensor in hp.header.tensors if tensor.name.endswith(".ffn_up.weight"))
    return 3 if up.shape[-1] == 2 * max(hp.n_ff, default=0) else 1


def _shared_length(hp: Hyperparameters) -> int:
    own = hp.integer("expert_feed_forward_length") * max(hp.integer("expert_shared_count"), 1)
    return hp.integer("expert_shared_feed_forward_length", own)


def _experts(hp: Hyperparameters, query: int) -> int:
    """As in a dense layer, for every expert that is used; their results come where gate and up were, if they fit."""
    used = hp.integer("expert_used_count")
    inner = used * hp.integer("expert_feed_forward_length", max(hp.n_ff, default=0))
    results = used * hp.n_embd
    size = 2 * inner if inner <= query else 3 * inner
    if results > 2 * inner:
        size += results
    if hp.architecture == "llama4":  # weighs what goes into the experts, not what comes out
        size += results + used
    return size
