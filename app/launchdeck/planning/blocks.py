"""Which blocks of a model are alike, and how the first GPU works with those that stay in RAM."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from launchdeck.planning.allocator import aligned
from launchdeck.planning.attention import borrowed_layers, factor_layers, reads_cache, rotating_layers, window
from launchdeck.planning.block import Block
from launchdeck.planning.feed_forward_steps import Routing
from launchdeck.planning.layer_steps import Layer
from launchdeck.planning.program import Begin, Place, Program
from launchdeck.planning.rehearsal import Rehearsal
from launchdeck.planning.steps import ENTERING, LAYER_EMBEDDINGS, Brought, Kind

if TYPE_CHECKING:
    from launchdeck.models.header import GgufTensor
    from launchdeck.planning.hyperparameters import Hyperparameters
    from launchdeck.planning.kv import KvCache
    from launchdeck.planning.work import Work

_KNOWN_PARTS = frozenset({
    "attn_gate", "attn_k", "attn_k_b", "attn_k_norm", "attn_kv_a_mqa", "attn_kv_a_norm", "attn_kv_b", "attn_norm",
    "attn_norm_2", "attn_output", "attn_output_norm", "attn_q", "attn_q_a", "attn_q_a_norm", "attn_q_b", "attn_q_norm",
    "attn_qkv", "attn_rel_b", "attn_sinks", "attn_sub_norm", "attn_v", "attn_v_b", "cross_attn_k", "cross_attn_norm",
    "cross_attn_output", "cross_attn_q", "cross_attn_rel_b", "cross_attn_v", "exp_probs_b", "ffn_down", "ffn_down_exps",
    "ffn_down_shexp", "ffn_gate", "ffn_gate_exps", "ffn_gate_inp", "ffn_gate_inp_shexp", "ffn_gate_shexp",
    "ffn_gate_up_exps", "ffn_norm", "ffn_sub_norm", "ffn_up", "ffn_up_exps", "ffn_up_shexp", "inp_gate",
    "layer_output_norm", "layer_output_scale", "per_layer_model_proj", "per_layer_proj_norm", "post_attention_norm",
    "post_ffw_norm", "post_ffw_norm_1", "post_ffw_norm_2", "post_norm", "pre_ffw_norm_2", "proj", "token_embd_norm",
})  # fmt: skip
# An indexer for sparse attention needs no room of its own where all sequences share a cache. Measured for MiniMax M3.
_INDEXER = frozenset({"indexer.k_norm", "indexer.k_proj", "indexer.q_norm", "indexer.q_proj"})
_SPLIT_ATTENTION = frozenset({"attn_q", "attn_k", "attn_v"})
_CROSS_ATTENTION = frozenset({"cross_attn_k", "cross_attn_norm", "cross_attn_output", "cross_attn_q", "cross_attn_v"})
_LATENT_ATTENTION = frozenset({"attn_kv_a_mqa", "attn_kv_a_norm", "attn_k_b", "attn_v_b"})
_UNFOLDED_ATTENTION = frozenset({"attn_kv_a_mqa", "attn_kv_a_norm", "attn_kv_b"})
_COMPRESSED_QUERY = frozenset({"attn_q_a", "attn_q_a_norm", "attn_q_b"})
_MATRICES = frozenset({
    "attn_k", "attn_output", "attn_q", "attn_q_a", "attn_q_b", "attn_qkv", "attn_v", "ffn_down", "ffn_down_exps",
    "ffn_down_shexp", "ffn_gate_exps", "ffn_gate_inp", "ffn_gate_up_exps", "ffn_up", "ffn_up_exps", "ffn_up_shexp",
})  # fmt: skip
# They are where the first layer is, and so is what is done with them.
_WITH_FIRST_LAYER = frozenset({"per_layer_model_proj", "per_layer_proj_norm", "token_embd_norm"})
_SHARED_FACTORS = frozenset({"rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight"})
# A matrix in RAM is worked with on the GPU where it serves so many tokens at once. Source: `offload_op` of ggml's CUDA
# backend (GGML_OP_OFFLOAD_MIN_BATCH).
_LEAST_TOKENS = 32
# They do so whatever they say; others only if they say so.
_NORMALISED = frozenset({
    "arctic", "dbrx", "ernie4_5-moe", "gemma4", "granite", "granitehybrid", "granitemoe", "grok", "grovemoe",
    "hunyuan-moe", "kimi-linear", "lfm2moe", "llama", "mellum", "mimo2", "minimax-01", "minimax-m2", "mistral3",
    "phimoe", "qwen35moe", "qwen3moe", "qwen3next", "qwen3vlmoe", "rnd1", "smallthinker",
})  # fmt: skip
_SCALES_EMBEDDINGS = frozenset(
    {"afmoe", "muse-glimmer", "gemma", "gemma-embedding", "gemma2", "gemma3", "gemma4", "grok", "minicpm", "minicpm3"}
)
# What is called otherwise elsewhere; or like something else, as Grok's norms are like those that encoders have.
_OTHER_NAMES = {
    "dbrx": {"attn_output_norm": "ffn_norm"},
    "grok": {"attn_output_norm": "post_attention_norm", "layer_output_norm": "post_ffw_norm"},
    "t5": {"attn_o": "attn_output", "cross_attn_o": "cross_attn_output"},
    "t5encoder": {"attn_o": "attn_output"},
}
_ROTATES_FIRST = frozenset({"hunyuan-dense", "hunyuan-moe", "hunyuan_vl", "maincoder"})
# They put their parts together in orders of their own: the closed forms are nearer.
_IN_THEIR_OWN_ORDER = frozenset({"talkie"})
# Of tokens that stand for parts of a picture: time, height, width, and one more.
_POSITIONS_IN_SPACE = 4
_KINDS = {"exp_probs_b": "bias"}
_NORMS_PLAINLY = frozenset({"olmo"})
# How they add up the results of both parts that they make side by side, if not as most do. See `Block`.
_SUMS_OF_PARTS = {"falcon": "fa+p+", "phi2": "af+p+", "plamo": "fa+p+", "stablelm": "fap++"}
_USUAL_SUM_OF_PARTS = "fp+a+"
_ADDS_TO_PAST = frozenset({"jamba", "phi3", "phimoe"})
_SOFTMAX_OF_CHOSEN = 3
_FLOAT_BYTES = 4


class Surroundings(NamedTuple):
    """What a GPU's steps depend on besides its own layers.

    Caches of layers before `own_from` are on other devices, and so are embeddings for each layer if this is not the
    first GPU. A model that cuts late `gives_results` after its last block, or leaves that to another GPU.
    `bias_is_elsewhere`: T5's, on the GPU that has the first block (see `biased_attention_steps`).
    """

    own_from: int = 0
    is_first: bool = True
    gives_results: bool = True
    bias_is_elsewhere: bool = False


class Blocks:
    """The blocks of one model: those that are `alike`, and for every layer which of them it is."""

    def __init__(self, hp: Hyperparameters, cache: KvCache, *, cuts_late: bool) -> None:
        self._hp = hp
        self._cuts_late = cuts_late
        self._routing = _routing(hp)
        self._added = _added_to_embeddings(hp)
        self._scales = hp.architecture in _SCALES_EMBEDDINGS or bool(hp.get("embedding_scale"))
        blocks = [_signed(block) for block in _blocks(hp, cache)]
        alike = dict(blocks)
        places = {signature: place for place, signature in enumerate(alike)}
        self._alike = [*alike.values()]
        self._which = [places[signature] for signature, _ in blocks]
        self._is_known = (
            bool(blocks) and all(map(_is_known, self._alike)) and hp.architecture not in _IN_THEIR_OWN_ORDER
        )
        self._lenders = borrowed_layers(hp)[: len(self._which)]
        self._is_indexed = any(block.has(part) for block in self._alike for part in _INDEXER)

    @property
    def lenders(self) -> tuple[int, ...]:
        """The layers whose caches others read as well."""
        return tuple(sorted({lender for layer, lender in enumerate(self._lenders) if layer != lender}))

    @property
    def embeds_each(self) -> bool:
        """Whether the first layer makes embeddings for all of them."""
        return any(block.has("inp_gate") for block in self._alike)

    def rehearsal(self, work: Work, surroundings: Surroundings) -> Rehearsal | None:
        """How GPUs work with these blocks; None where that is not known, or for so few tokens that nothing is lent."""
        if not self._is_known or work.tokens < _LEAST_TOKENS or (self._is_indexed and work.cells.streams > 1):
            return None
        programs: dict[tuple[object, ...], Program] = {}

        def program(layer: int, place: Place, begin: Begin) -> Program:
            last = layer == len(self._which) - 1
            block = self._alike[self._which[layer]]
            index = layer if block.is_biased and place is Place.OWN else 0
            name = f" for {layer}"
            is_away = block.borrows and self._lenders[layer] < surroundings.own_from and place is not Place.LENT
            cache = name if is_away else ""
            embedding = name if block.has("inp_gate") and not surroundings.is_first else ""
            key = (self._which[layer], last, place, begin, index, cache, embedding)
            if key not in programs:
                block = replace(block, cache_copy=cache, embedding_copy=embedding)
                programs[key] = self._program(
                    block, work, place, begin, last=last, index=index, surroundings=surroundings
                )
            return programs[key]

        return Rehearsal(len(self._which), program)

    def _program(
        self,
        block: Block,
        work: Work,
        place: Place,
        begin: Begin,
        *,
        last: bool,
        index: int,
        surroundings: Surroundings,
    ) -> Program:
        cuts = last and not self._cuts_late
        rows = work.outputs if cuts else work.tokens
        layer = Layer(
            block,
            self._routing,
            work,
            n_embd=self._hp.n_embd,
            index=index,
            place=place,
            rows=rows,
            cuts=cuts,
            ends_early=cuts and place is Place.LENT and rows < _LEAST_TOKENS,
            gives_results=last and self._cuts_late and surroundings.gives_results and work.outputs < work.tokens,
            scales=begin.is_embedded and self._scales,
            added=tuple(self._added) if begin.is_embedded else None,
            bias_is_elsewhere=surroundings.bias_is_elsewhere,
        )
        row = _FLOAT_BYTES * work.tokens
        entering = {ENTERING: aligned(row * self._hp.n_embd)}
        if begin.is_embedded:  # what is added to the embeddings is copied as well
            entering |= {name: aligned(size or entering[ENTERING]) for name, size in self._added.items()}
        if block.has("per_layer_model_proj"):
            entering[LAYER_EMBEDDINGS] = aligned(row * block.width("per_layer_model_proj"))
        return Program.of(layer.steps(), place, begin, entering)


def _added_to_embeddings(hp: Hyperparameters) -> dict[str, int]:
    """Bytes for the first kind of token, which is the same for all, and 0 for positions, as many as for embeddings."""
    tensors = {tensor.name: tensor for tensor in hp.header.tensors}
    kinds = tensors.get("token_types.weight")
    added = {"kinds": kinds.n_bytes // kinds.shape[1]} if kinds else {}
    return added | ({"positions": 0} if "position_embd.weight" in tensors else {})


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
    half = "dec." if hp.architecture == "t5" else "enc."
    named = _OTHER_NAMES.get(hp.architecture, {})
    tensors: list[dict[str, GgufTensor]] = [{} for _ in range(hp.n_layer)]
    for tensor in hp.header.tensors:
        prefix, _, rest = tensor.name.removeprefix(half).partition(".")
        layer, _, name = rest.partition(".")
        if prefix == "blk" and layer.isdecimal() and int(layer) < hp.n_layer:
            part, dot, kind = name.rpartition(".")
            part, kind = (part, kind) if dot else (name, _KINDS.get(name, "weight"))
            tensors[int(layer)][f"{named.get(part, part)}.{kind}"] = tensor
        elif prefix in _WITH_FIRST_LAYER and tensors:
            tensors[0][tensor.name] = tensor
    decoding = hp.integer("decoder_block_count", hp.n_layer)
    if min(len(hp.n_head), len(cache.rows)) < hp.n_layer or decoding != hp.n_layer:
        return []
    factors = _shared_factors(hp)
    rank = hp.integer("attention.kv_lora_rank")
    lenders = borrowed_layers(hp)
    in_window, rotates, has_factors = window(hp).layers, rotating_layers(hp), factor_layers(hp)
    lengths = {slides: hp.head_lengths(in_window=slides) for slides in (False, True)}
    reads = reads_cache(hp)
    rows = cache.rows if reads else [(heads * hp.key_length, heads * hp.value_length) for heads in hp.n_head_kv]
    widest = max((row for _, row in rows), default=0)
    return [
        Block(
            tensors=parts,
            n_head=hp.n_head[layer],
            key_row=rows[lenders[layer]][0],
            value_row=rows[lenders[layer]][1],
            widest_value_row=widest,
            key_length=lengths[in_window[layer]][0],
            value_length=lengths[in_window[layer]][1],
            latent_rank=rank if "attn_kv_a_mqa.weight" in parts and "attn_kv_b.weight" not in parts else 0,
            is_biased=hp.architecture in {"t5", "t5encoder"},
            encoded=hp.integer("context_length") if hp.architecture == "t5" else 0,
            reads_cache=reads,
            borrows=lenders[layer] != layer,
            norms_values=hp.architecture == "gemma4",
            in_window=in_window[layer],
            keys_first=any(in_window) or not reads,
            rotates=rotates[layer],
            rotates_first=hp.architecture in _ROTATES_FIRST,
            positions_per_token=_positions_per_token(hp),
            scales_query=hp.architecture == "llama4",
            adds_to_past=hp.architecture in _ADDS_TO_PAST,
            adds_to_entering=hp.architecture == "openelm",
            routes_first=hp.architecture == "smallthinker",
            norms_plainly=hp.architecture in _NORMS_PLAINLY,
            feeds_past=hp.architecture == "gptneox" and hp.get("use_parallel_residual") is True,
            sum_of_parts=_SUMS_OF_PARTS.get(hp.architecture, _USUAL_SUM_OF_PARTS),
            shared_factors=factors if has_factors[layer] else None,
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


def _is_known(block: Block) -> bool:
    """Whether it attends and feeds forward with weights whose use is known, and has all that this takes."""
    parts = {name.rpartition(".")[0] for name in block.tensors}
    weights = {part for part in parts if block.has(part)}
    return (
        parts <= _KNOWN_PARTS | _INDEXER
        and all(len(block.tensors[f"{part}.weight"].shape) > 1 for part in _MATRICES & weights)
        and _attention_weights(block) | {"attn_output"} <= weights
        and _feed_forward_weights(block) <= weights
        and not {"attn_norm_2", "attn_output_norm"} <= weights  # a second one after the attention
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
        return frozenset({"attn_q"} if block.borrows else {"attn_q", "attn_k"})
    return _SPLIT_ATTENTION if block.has("attn_q") or block.is_biased else frozenset({"attn_qkv"})


def _feed_forward_weights(block: Block) -> frozenset[str]:
    if not block.has("ffn_down_exps"):
        return frozenset({"ffn_up", "ffn_down"})
    inner = "ffn_gate_up_exps" if block.has("ffn_gate_up_exps") else "ffn_up_exps"
    shared = {"ffn_up_shexp", "ffn_down_shexp"}
    return frozenset({"ffn_gate_inp", inner} | (shared if any(map(block.has, shared)) else set()))
