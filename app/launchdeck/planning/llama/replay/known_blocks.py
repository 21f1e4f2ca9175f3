"""Whether it is known what is done with the weights of a block."""

from __future__ import annotations

from typing import TYPE_CHECKING

from launchdeck.planning.llama.replay.layers.delta_net import is_known_delta_net
from launchdeck.planning.llama.replay.layers.recurrent import scans_on_gpu
from launchdeck.planning.llama.replay.layers.short_convolution import is_known_convolution

if TYPE_CHECKING:
    from launchdeck.models.architectures.traits import Traits
    from launchdeck.planning.llama.replay.block import Block

_KNOWN_PARTS = frozenset({
    "attn_gate", "attn_k", "attn_k_b", "attn_k_norm", "attn_kv_a_mqa", "attn_kv_a_norm", "attn_kv_b", "attn_norm",
    "attn_norm_2", "attn_output", "attn_output_norm", "attn_q", "attn_q_a", "attn_q_a_norm", "attn_q_b", "attn_q_norm",
    "attn_qkv", "attn_rel_b", "attn_sinks", "attn_sub_norm", "attn_v", "attn_v_b", "cross_attn_k", "cross_attn_norm",
    "cross_attn_output", "cross_attn_q", "cross_attn_rel_b", "cross_attn_v", "exp_probs_b", "ffn_down", "ffn_down_exps",
    "ffn_down_shexp", "ffn_gate", "ffn_gate_exps", "ffn_gate_inp", "ffn_gate_inp_shexp", "ffn_gate_shexp",
    "ffn_gate_up_exps", "ffn_norm", "ffn_sub_norm", "ffn_up", "ffn_up_exps", "ffn_up_shexp", "inp_gate",
    "layer_output_norm", "layer_output_scale", "per_layer_model_proj", "per_layer_proj_norm", "post_attention_norm",
    "post_ffw_norm", "post_ffw_norm_1", "post_ffw_norm_2", "post_norm", "pre_ffw_norm_2", "proj", "shortconv.conv",
    "shortconv.in_proj", "shortconv.out_proj", "ssm_a", "ssm_alpha", "ssm_b_norm", "ssm_ba", "ssm_beta", "ssm_c_norm",
    "ssm_conv1d", "ssm_d", "ssm_dt", "ssm_dt_norm", "ssm_in", "ssm_norm", "ssm_out", "ssm_x", "token_embd_norm",
})  # fmt: skip
# An indexer for sparse attention needs no room of its own where all sequences share a cache. Measured for MiniMax M3.
INDEXER = frozenset({"indexer.k_norm", "indexer.k_proj", "indexer.q_norm", "indexer.q_proj"})
_SPLIT_ATTENTION = frozenset({"attn_q", "attn_k", "attn_v"})
_CROSS_ATTENTION = frozenset({"cross_attn_k", "cross_attn_norm", "cross_attn_output", "cross_attn_q", "cross_attn_v"})
_LATENT_ATTENTION = frozenset({"attn_kv_a_mqa", "attn_kv_a_norm", "attn_k_b", "attn_v_b"})
_UNFOLDED_ATTENTION = frozenset({"attn_kv_a_mqa", "attn_kv_a_norm", "attn_kv_b"})
_COMPRESSED_QUERY = frozenset({"attn_q_a", "attn_q_a_norm", "attn_q_b"})
_MATRICES = frozenset({
    "attn_k", "attn_output", "attn_q", "attn_q_a", "attn_q_b", "attn_qkv", "attn_v", "ffn_down", "ffn_down_exps",
    "ffn_down_shexp", "ffn_gate_exps", "ffn_gate_inp", "ffn_gate_up_exps", "ffn_up", "ffn_up_exps", "ffn_up_shexp",
})  # fmt: skip


def is_known(block: Block, traits: Traits) -> bool:
    """Tell whether it attends and feeds forward with weights whose use is known, and has all that this takes."""
    parts = {name.rpartition(".")[0] for name in block.tensors}
    weights = {part for part in parts if block.has(part)}
    may_lack = traits.replays_recurrence  # in other recurrent layers the same weights are used otherwise
    return (
        parts <= _KNOWN_PARTS | INDEXER
        and all(len(block.tensors[f"{part}.weight"].shape) > 1 for part in _MATRICES & weights)
        and (_attends_as_known(block, weights) or (may_lack and not block.attends))
        and (_feed_forward_weights(block) <= weights or (may_lack and not block.feeds_forward))
        and (not block.is_recurrent or (may_lack and scans_on_gpu(block)))
        and (not block.is_delta_net or (may_lack and is_known_delta_net(block)))
        and (not block.has("shortconv.conv") or (may_lack and is_known_convolution(block)))
        and not {"attn_norm_2", "attn_output_norm"} <= weights  # a second one after the attention
    )


def _attends_as_known(block: Block, weights: set[str]) -> bool:
    return (
        _attention_weights(block) | {"attn_output"} <= weights
        and block.key_row > block.latent_rank
        and bool(block.value_row) != bool(block.latent_rank)
    )


def _attention_weights(block: Block) -> frozenset[str]:
    if block.latent_rank or block.has("attn_kv_b"):
        query = _COMPRESSED_QUERY if block.has("attn_q_a") else frozenset({"attn_q"})
        return (_UNFOLDED_ATTENTION if block.has("attn_kv_b") else _LATENT_ATTENTION) | query
    if block.encoded:
        return _SPLIT_ATTENTION | _CROSS_ATTENTION
    if block.norms_values:
        return frozenset({"attn_q"} if block.reuses_cache else {"attn_q", "attn_k"})
    return _SPLIT_ATTENTION if block.has("attn_q") or block.is_biased else frozenset({"attn_qkv"})


def _feed_forward_weights(block: Block) -> frozenset[str]:
    if not block.has("ffn_down_exps"):
        return frozenset({"ffn_up", "ffn_down"})
    inner = "ffn_gate_up_exps" if block.has("ffn_gate_up_exps") else "ffn_up_exps"
    shared = {"ffn_up_shexp", "ffn_down_shexp"}
    return frozenset({"ffn_gate_inp", inner} | (shared if any(map(block.has, shared)) else set()))
