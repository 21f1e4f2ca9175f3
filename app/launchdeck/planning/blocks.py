"""Which blocks of a model are alike, and how the first GPU works with those that stay in RAM."""

from __future__ import annotations

from typing import TYPE_CHECKING

from launchdeck.planning.allocator import aligned
from launchdeck.planning.attention import (
    borrowed_layers,
    factor_layers,
    recurrent_state,
    rotating_layers,
    window,
)
from launchdeck.planning.block import Block
from launchdeck.planning.delta_net_steps import is_known_delta_net
from launchdeck.planning.feed_forward_steps import Routing
from launchdeck.planning.layer_steps import First, Layer
from launchdeck.planning.program import Begin, Place, Program, Setting
from launchdeck.planning.recurrent_steps import scans_on_gpu
from launchdeck.planning.rehearsal import Rehearsal
from launchdeck.planning.short_convolution_steps import is_known_convolution
from launchdeck.planning.steps import Brought, Kind

if TYPE_CHECKING:
    from launchdeck.models.header import GgufTensor
    from launchdeck.planning.hyperparameters import Hyperparameters
    from launchdeck.planning.kv import KvCache
    from launchdeck.planning.work import Work

_KNOWN_PARTS = frozenset({
    "attn_k", "attn_k_b", "attn_k_norm", "attn_kv_a_mqa", "attn_kv_a_norm", "attn_norm", "attn_output", "attn_q",
    "attn_q_a", "attn_q_a_norm", "attn_q_b", "attn_q_norm", "attn_qkv", "attn_rel_b", "attn_sinks", "attn_sub_norm",
    "attn_v", "attn_v_b", "exp_probs_b", "ffn_down", "ffn_down_exps", "ffn_down_shexp", "ffn_gate", "ffn_gate_exps",
    "ffn_gate_inp", "ffn_gate_inp_shexp", "ffn_gate_shexp", "ffn_gate_up_exps", "ffn_norm", "ffn_sub_norm", "ffn_up",
    "ffn_up_exps", "ffn_up_shexp", "layer_output_scale", "post_attention_norm", "post_ffw_norm", "ssm_a", "ssm_conv1d",
    "ssm_alpha", "ssm_b_norm", "ssm_ba", "ssm_beta", "ssm_c_norm", "ssm_dt_norm", "shortconv.conv", "shortconv.in_proj",
    "shortconv.out_proj", "ssm_d", "ssm_dt", "ssm_in", "ssm_norm", "ssm_out", "ssm_x", "attn_gate",
})  # fmt: skip
# Recurrent layers in the ways that are known; in others the same weights are used otherwise.
_RECURRENT = frozenset({
    "falcon-h1", "granitehybrid", "jamba", "lfm2", "lfm2moe", "mamba", "mamba2", "nemotron_h", "qwen35", "qwen35moe",
    "qwen3next",
})  # fmt: skip
# An indexer for sparse attention needs no room of its own where all sequences share a cache. Measured for MiniMax M3.
_INDEXER = frozenset({"indexer.k_norm", "indexer.k_proj", "indexer.q_norm", "indexer.q_proj"})
_SPLIT_ATTENTION = frozenset({"attn_q", "attn_k", "attn_v"})
_LATENT_ATTENTION = frozenset({"attn_kv_a_mqa", "attn_kv_a_norm", "attn_k_b", "attn_v_b"})
_COMPRESSED_QUERY = frozenset({"attn_q_a", "attn_q_a_norm", "attn_q_b"})
_MATRICES = frozenset({
    "attn_k", "attn_output", "attn_q", "attn_q_a", "attn_q_b", "attn_qkv", "attn_v", "ffn_down", "ffn_down_exps",
    "ffn_down_shexp", "ffn_gate_exps", "ffn_gate_inp", "ffn_gate_up_exps", "ffn_up", "ffn_up_exps", "ffn_up_shexp",
})  # fmt: skip
_SHARED_FACTORS = frozenset({"rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight"})
# A matrix in RAM is worked with on the GPU where it serves so many tokens at once. Source: `offload_op` of ggml's CUDA
# backend (GGML_OP_OFFLOAD_MIN_BATCH).
_LEAST_TOKENS = 32
# llama.cpp tries operations that do much at once with 16 tokens of each sequence.
_LEAST_SEQUENCES_APART = _LEAST_TOKENS // 16
# They do so whatever they say; others only if they say so.
_NORMALISED = frozenset({
    "arctic", "dbrx", "ernie4_5-moe", "gemma4", "granite", "granitehybrid", "granitemoe", "grok", "grovemoe",
    "hunyuan-moe", "kimi-linear", "lfm2moe", "llama", "mellum", "mimo2", "minimax-01", "minimax-m2", "mistral3",
    "phimoe", "qwen35moe", "qwen3moe", "qwen3next", "qwen3vlmoe", "rnd1", "smallthinker",
})  # fmt: skip
_SCALES_EMBEDDINGS = frozenset(
    {"gemma", "gemma-embedding", "gemma2", "gemma3", "gemma4", "grok", "minicpm", "minicpm3"}
)
# What is called otherwise elsewhere; or like something else, as Grok's norms are like those that encoders have.
_OTHER_NAMES = {
    "grok": {"attn_output_norm": "post_attention_norm", "layer_output_norm": "post_ffw_norm"},
    "t5encoder": {"attn_o": "attn_output"},
}
_ROTATES_FIRST = frozenset({"hunyuan-dense", "hunyuan-moe", "hunyuan_vl", "maincoder"})
# They put their parts together in orders of their own: the closed forms are nearer.
_IN_THEIR_OWN_ORDER = frozenset({
    "bloom", "cohere2moe", "gptneox", "llama-embed", "olmo", "openelm", "phi2", "refact", "smallthinker", "talkie",
})  # fmt: skip
# Of tokens that stand for parts of a picture: time, height, width, and one more.
_POSITIONS_IN_SPACE = 4
_ADDS_TO_PAST = frozenset({"jamba", "lfm2", "lfm2moe", "phi3", "phimoe"})
_PAST_COMES_FIRST = frozenset({"jamba", "lfm2", "lfm2moe"})
_SOFTMAX_OF_CHOSEN = 3
_FLOAT_BYTES = 4


class Blocks:
    """The blocks of one model: those that are `alike`, and for every layer which of them it is."""

    def __init__(self, hp: Hyperparameters, cache: KvCache, *, cuts_late: bool) -> None:
        self._hp = hp
        self._cuts_late = cuts_late
        self._routing = _routing(hp)
        self._adds_positions = any(tensor.name == "position_embd.weight" for tensor in hp.header.tensors)
        self._scales = hp.architecture in _SCALES_EMBEDDINGS or bool(hp.get("embedding_scale"))
        blocks = [_signed(block) for block in _blocks(hp, cache)]
        alike = dict(blocks)
        places = {signature: place for place, signature in enumerate(alike)}
        self._alike = [*alike.values()]
        self._which = [places[signature] for signature, _ in blocks]
        known = (_is_known(block, hp.architecture) for block in self._alike)
        self._is_known = bool(blocks) and hp.architecture not in _IN_THEIR_OWN_ORDER and all(known)
        self._is_indexed = any(block.has(part) for block in self._alike for part in _INDEXER)
        self._goes_by_sequences = any(block.has("ssm_x") or block.has("shortconv.conv") for block in self._alike)
        self._targets, self._first_targets = self._fetched()

    def rehearsal(self, work: Work) -> Rehearsal | None:
        """How GPUs work with these blocks; None where that is not known, or for so few tokens that nothing is lent.

        Some recurrent layers go sequence by sequence: there it is the tokens of each that are too few to be lent.
        """
        if not self._is_known or work.tokens < _LEAST_TOKENS or (self._is_indexed and work.cells.streams > 1):
            return None
        programs: dict[tuple[object, ...], Program] = {}

        def program(layer: int, setting: Setting) -> Program:
            key = (self._which[layer], layer == len(self._which) - 1, layer if setting.fetches_first else None, setting)
            if key not in programs:
                programs[key] = self._program(layer, work, setting)
            return programs[key]

        lends = not self._goes_by_sequences or work.tokens // work.cells.sequences >= _LEAST_TOKENS
        return Rehearsal(program, self._targets, self._first_targets, lends=lends)

    def _fetched(self) -> tuple[list[int | None], list[int | None]]:
        """For every layer the one whose state is fetched within it, and before it where its GPU begins with it.

        Layers that only feed forward are put off until the next one mixes; so the state is fetched before them.
        """
        within: list[int | None] = []
        before: list[int | None] = []
        following: int | None = None
        for layer, which in reversed([*enumerate(self._which)]):
            block = self._alike[which]
            mixes = block.mixes
            within.append(following if mixes else None)
            if mixes:
                fetches = block.keeps_state and not block.attends and not block.is_delta_net
                following = layer if fetches else None
            before.append(following)
        return within[::-1], before[::-1]

    def _first(self, layer: int) -> First:
        """What a GPU that begins with this layer does while another one has not come to the end of the layer before."""
        before = (self._alike[which] for which in self._which[:layer][::-1])
        mixing = next((block for block in before if block.mixes), None)
        makes_gate = mixing is not None and mixing.is_recurrent and not mixing.has_experts
        adds_up = mixing is not None and mixing.adds_after_experts
        leaves = layer > 0 and not adds_up
        return First(fetches=True, leaves=leaves, gate_of=mixing if makes_gate else None, adds_up=adds_up)

    def _program(self, layer: int, work: Work, setting: Setting) -> Program:
        last, place, begin = layer == len(self._which) - 1, setting.place, setting.begin
        cuts = last and not self._cuts_late
        rows = work.outputs if cuts else work.tokens
        steps = Layer(
            self._alike[self._which[layer]],
            self._routing,
            work,
            n_embd=self._hp.n_embd,
            n_layer=self._hp.n_layer,
            place=place,
            rows=rows,
            cuts=cuts,
            ends_early=cuts and place is Place.LENT and rows < _LEAST_TOKENS,
            gives_results=last and self._cuts_late and setting.picks_results and work.outputs < work.tokens,
            scales=begin in {Begin.EMBEDDED, Begin.KEPT_EMBEDDED} and self._scales,
            fetch=setting.fetch,
            fuses=setting.fuses or work.cells.sequences < _LEAST_SEQUENCES_APART,
            first=self._first(layer) if setting.fetches_first else First(),
        ).steps()
        entering_bytes = aligned(_FLOAT_BYTES * work.tokens * self._hp.n_embd)
        if begin is Begin.KEPT_EMBEDDED and self._adds_positions:
            entering_bytes *= 2  # what is added to the embeddings is copied as well
        return Program.of(steps, place, begin, entering_bytes)


def _routing(hp: Hyperparameters) -> Routing:
    scale = hp.get("expert_weights_scale")
    return Routing(
        used=hp.integer("expert_used_count"),
        softened=hp.integer("expert_gating_func") == _SOFTMAX_OF_CHOSEN or hp.architecture == "gpt-oss",
        normalised=hp.architecture in _NORMALISED or hp.get("expert_weights_norm") is True,
        scaled=isinstance(scale, float) and scale not in {0.0, 1.0},
        weighs_before=hp.architecture == "llama4",
        groups=hp.integer("expert_group_count"),
        groups_used=hp.integer("expert_group_used_count"),
    )


def _blocks(hp: Hyperparameters, cache: KvCache) -> list[Block]:
    """All blocks that a server works with, in their order."""
    named = _OTHER_NAMES.get(hp.architecture, {})
    tensors: list[dict[str, GgufTensor]] = [{} for _ in range(hp.n_layer)]
    for tensor in hp.header.tensors:
        prefix, _, rest = tensor.name.removeprefix("enc.").partition(".")
        layer, _, name = rest.partition(".")
        if prefix == "blk" and layer.isdecimal() and int(layer) < hp.n_layer:
            part, _, kind = (name if "." in name else f"{name}.weight").rpartition(".")
            tensors[int(layer)][f"{named.get(part, part)}.{kind}"] = tensor
    if min(len(hp.n_head), len(cache.rows)) < hp.n_layer:
        return []
    factors = _shared_factors(hp)
    rank = hp.integer("attention.kv_lora_rank")
    lenders, states = borrowed_layers(hp), recurrent_state(hp)
    in_window, rotates, has_factors = window(hp).layers, rotating_layers(hp), factor_layers(hp)
    lengths = {slides: hp.head_lengths(in_window=slides) for slides in (False, True)}
    return [
        Block(
            tensors=parts,
            n_head=hp.n_head[layer],
            key_row=cache.rows[lenders[layer]][0],
            value_row=cache.rows[lenders[layer]][1],
            key_length=lengths[in_window[layer]][0],
            value_length=lengths[in_window[layer]][1],
            latent_rank=rank if "attn_kv_a_mqa.weight" in parts else 0,
            is_biased=hp.architecture == "t5encoder",
            borrows=lenders[layer] != layer,
            norms_values=hp.architecture == "gemma4",
            in_window=in_window[layer],
            keys_first=any(in_window),
            rotates=rotates[layer],
            rotates_first=hp.architecture in _ROTATES_FIRST,
            positions_per_token=_positions_per_token(hp),
            scales_query=hp.architecture == "llama4",
            adds_to_past=hp.architecture in _ADDS_TO_PAST,
            past_comes_first=hp.architecture in _PAST_COMES_FIRST,
            shared_factors=factors if has_factors[layer] else None,
            state_rows=states,
            norms_scan_inputs=hp.get("ssm.dt_b_c_rms") is True or "ssm_dt_norm.weight" in parts,
        )
        for layer, parts in enumerate(tensors)
    ]


def _positions_per_token(hp: Hyperparameters) -> int:
    in_space = hp.get("rope.dimension_sections") is not None or hp.architecture == "paddleocr"
    return _POSITIONS_IN_SPACE if in_space else 1


def _shared_factors(hp: Hyperparameters) -> Brought | None:
    """Of two sets, for short and for long contexts, one is used; they are of the same size."""
    named = {tensor.name: tensor for tensor in hp.header.tensors if tensor.name in _SHARED_FACTORS}
    factors = next(iter(named.values()), None)
    return Brought(Kind.SHARED, "factors", aligned(factors.n_bytes)) if factors else None


def _signed(block: Block) -> tuple[object, Block]:
    """With what tells it from blocks that need other room."""
    parts = tuple((name, tensor.n_bytes, tensor.shape) for name, tensor in block.tensors.items())
    attention = (
        block.n_head,
        block.key_row,
        block.value_row,
        block.in_window,
        block.rotates,
        block.shared_factors,
        block.borrows,
    )
    return (parts, attention), block


def _is_known(block: Block, architecture: str) -> bool:
    """Whether it attends and feeds forward with weights whose use is known, and has all that this takes."""
    parts = {name.rpartition(".")[0] for name in block.tensors}
    weights = {part for part in parts if block.has(part)}
    may_lack = architecture in _RECURRENT
    return (
        parts <= _KNOWN_PARTS | _INDEXER
        and all(len(block.tensors[f"{part}.weight"].shape) > 1 for part in _MATRICES & weights)
        and (_attends_as_known(block, weights) or (may_lack and not block.attends))
        and (_feed_forward_weights(block) <= weights or (may_lack and not block.feeds_forward))
        and (not block.is_recurrent or (may_lack and scans_on_gpu(block)))
        and (not block.is_delta_net or (may_lack and is_known_delta_net(block)))
        and (not block.has("attn_gate") or block.is_delta_net)
        and (not block.has("shortconv.conv") or (may_lack and is_known_convolution(block)))
    )


def _attends_as_known(block: Block, weights: set[str]) -> bool:
    return (
        _attention_weights(block) | {"attn_output"} <= weights
        and block.key_row > block.latent_rank
        and bool(block.value_row) != bool(block.latent_rank)
    )


def _attention_weights(block: Block) -> frozenset[str]:
    if block.latent_rank and not block.is_biased:
        return _LATENT_ATTENTION | (_COMPRESSED_QUERY if block.has("attn_q_a") else frozenset({"attn_q"}))
    return _SPLIT_ATTENTION if block.has("attn_q") or block.is_biased else frozenset({"attn_qkv"})


def _feed_forward_weights(block: Block) -> frozenset[str]:
    if not block.has("ffn_down_exps"):
        return frozenset({"ffn_up", "ffn_down"})
    inner = "ffn_gate_up_exps" if block.has("ffn_gate_up_exps") else "ffn_up_exps"
    shared = {"ffn_up_shexp", "ffn_down_shexp"}
    return frozenset({"ffn_gate_inp", inner} | (shared if any(map(block.has, shared)) else set()))
