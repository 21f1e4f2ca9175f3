"""The blocks of a model as its header describes them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from launchdeck.models.architectures.traits import RelativeBias
from launchdeck.planning.llama.attention import (
    factor_layers,
    reads_cache,
    recurrent_state,
    reused_layers,
    rotating_layers,
    window,
)
from launchdeck.planning.llama.replay.allocator import aligned
from launchdeck.planning.llama.replay.block import Block
from launchdeck.planning.llama.replay.layers.feed_forward import Routing
from launchdeck.planning.llama.replay.steps import Kind, SplitInput

if TYPE_CHECKING:
    from launchdeck.models.gguf.header import GgufTensor
    from launchdeck.planning.llama.hyperparameters import Hyperparameters
    from launchdeck.planning.llama.kv import KvCache

# They are where the first layer is, and so is what is done with them.
_WITH_FIRST_LAYER = frozenset({"per_layer_model_proj", "per_layer_proj_norm", "token_embd_norm"})
_SHARED_FACTORS = frozenset({"rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight"})
# Of tokens that stand for parts of a picture: time, height, width, and one more.
_POSITIONS_IN_SPACE = 4
# What has no kind in its name is a weight, but for this.
_KINDS = {"exp_probs_b": "bias"}
_SOFTMAX_OF_CHOSEN = 3


def read_routing(hp: Hyperparameters) -> Routing:
    """Read how tokens come to experts."""
    scale = hp.get("expert_weights_scale")
    return Routing(
        used=hp.integer("expert_used_count"),
        softened=hp.traits.softens_chosen or hp.integer("expert_gating_func") == _SOFTMAX_OF_CHOSEN,
        normalised=hp.traits.normalises_experts or hp.get("expert_weights_norm") is True,
        scaled=isinstance(scale, float) and scale not in {0.0, 1.0},
        weighs_before=hp.traits.weighs_before_experts,
        groups=hp.integer("expert_group_count"),
        groups_used=hp.integer("expert_group_used_count"),
    )


def read_blocks(hp: Hyperparameters, cache: KvCache) -> list[Block]:
    """Read all blocks that a server works with, in their order."""
    traits = hp.traits
    half = (traits.relative_bias or RelativeBias.IN_ENCODER).value
    named = traits.names
    tensors: list[dict[str, GgufTensor]] = [{} for _ in range(hp.n_layer)]
    for tensor in hp.header.tensors:
        prefix, _, rest = tensor.name.removeprefix(half).partition(".")
        layer, _, name = rest.partition(".")
        if prefix == "blk" and layer.isdecimal() and int(layer) < hp.n_layer:
            part, dot, kind = name.rpartition(".")
            part, kind = (part, kind) if dot else (name, _KINDS.get(name, "weight"))
            tensors[int(layer)][f"{named.get(part, part)}.{kind}"] = tensor
        elif prefix in _WITH_FIRST_LAYER and prefix not in named and tensors:
            tensors[0][tensor.name] = tensor
    decoding = hp.integer("decoder_block_count", hp.n_layer)
    if min(len(hp.n_head), len(cache.rows)) < hp.n_layer or decoding != hp.n_layer:
        return []
    factors = _shared_factors(hp)
    rank = hp.integer("attention.kv_lora_rank")
    reused, states = reused_layers(hp), recurrent_state(hp)
    in_window, rotates, has_factors = window(hp).layers, rotating_layers(hp), factor_layers(hp)
    lengths = {slides: hp.head_lengths(in_window=slides) for slides in (False, True)}
    reads = reads_cache(hp)
    rows = cache.rows if reads else [(heads * hp.key_length, heads * hp.value_length) for heads in hp.n_head_kv]
    widest = max((row for _, row in rows), default=0)
    return [
        Block(
            tensors=parts,
            n_head=hp.n_head[layer],
            key_row=rows[reused[layer]][0],
            value_row=rows[reused[layer]][1],
            widest_value_row=widest,
            key_length=lengths[in_window[layer]][0],
            value_length=lengths[in_window[layer]][1],
            latent_rank=rank if "attn_kv_a_mqa.weight" in parts and "attn_kv_b.weight" not in parts else 0,
            is_biased=traits.relative_bias is not None,
            encoded=hp.integer("context_length") if traits.relative_bias is RelativeBias.IN_DECODER else 0,
            reads_cache=reads,
            reuses_cache=reused[layer] != layer,
            norms_values=traits.norms_values,
            in_window=in_window[layer],
            keys_first=any(in_window) or not reads,
            rotates=rotates[layer],
            rotates_first=traits.rotates_before_norm,
            positions_per_token=_positions_per_token(hp),
            scales_query=traits.scales_query,
            adds_to_past=traits.adds_to_past,
            adds_to_entering=traits.adds_to_entering,
            routes_first=traits.routes_first,
            norms_plainly=traits.norms_plainly,
            feeds_past=traits.may_feed_past and hp.get("use_parallel_residual") is True,
            sum_of_parts=traits.sum_of_parts,
            shared_factors=factors if has_factors[layer] else None,
            state_rows=states,
            norms_scan_inputs=hp.get("ssm.dt_b_c_rms") is True or "ssm_dt_norm.weight" in parts,
        )
        for layer, parts in enumerate(tensors)
    ]


def _positions_per_token(hp: Hyperparameters) -> int:
    in_space = hp.traits.positions_in_space or hp.get("rope.dimension_sections") is not None
    return _POSITIONS_IN_SPACE if in_space else 1


def _shared_factors(hp: Hyperparameters) -> SplitInput | None:
    """Of two sets, for short and for long contexts, one is used; they are of the same size."""
    named = {tensor.name: tensor for tensor in hp.header.tensors if tensor.name in _SHARED_FACTORS}
    factors = next(iter(named.values()), None)
    return SplitInput(Kind.SHARED, "factors", aligned(factors.n_bytes)) if factors else None
