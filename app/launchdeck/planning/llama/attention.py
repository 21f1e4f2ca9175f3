"""Which layers of a model look at everything, which through a window, and which keep a state instead.

Source: `load_arch_hparams` of every architecture, and `create_memory`, of llama.cpp b10605.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from launchdeck.planning.llama.hyperparameters import Hyperparameters

_RECURRENT = frozenset({"mamba", "mamba2", "rwkv6", "rwkv6qwen2", "rwkv7", "arwkv7"})
# Encoders and diffusion models see the whole text each time.
_WITHOUT_CACHE = frozenset({
    "bert", "dream", "eurobert", "gemma-embedding", "jina-bert-v2", "jina-bert-v3", "llada", "llada-moe", "modern-bert",
    "neo-bert", "nomic-bert", "nomic-bert-moe", "rnd1", "wavtokenizer-dec",
})  # fmt: skip
# They have one, and see the whole text each time nevertheless.
_UNREAD_CACHE = frozenset({"llama-embed", "t5encoder"})
# A recurrent layer is one without heads for keys.
_HEADLESS_IS_RECURRENT = frozenset({
    "jamba", "granitehybrid", "plamo2", "lfm2", "lfm2moe", "kimi-linear", "nemotron_h", "nemotron_h_moe", "bailingmoe3",
    "kimi-k3",
})  # fmt: skip
# Each layer is recurrent, attends, or is a feed-forward part.
_ONE_PART_A_LAYER = frozenset({"nemotron_h", "nemotron_h_moe"})
# Every so-manieth layer attends, the others are recurrent.
_FULL_ATTENTION_INTERVAL = {"qwen3next": 4, "qwen35": 4, "qwen35moe": 4, "minimax-01": 8}
# A second, small cache of keys tells which tokens are worth attending to.
_INDEXED = frozenset({"deepseek32", "dots3note", "glm-dsa", "minimax-m3"})
# They know the positions by what is added to the embeddings, or to the scores.
_WITHOUT_ROTATION = frozenset({
    "bert", "bloom", "gpt2", "jais", "jamba", "jina-bert-v2", "mpt", "nemotron_h", "refact", "starcoder", "t5",
    "t5encoder",
})  # fmt: skip
_ROTATES_IN_WINDOWS = frozenset({"cohere2", "cohere2moe", "exaone-moe", "exaone4", "muse-glimmer"})
_SMALL_BAICHUAN = 32
_STILL_STEP = 4
_STILL_EVERY = dict.fromkeys(("afmoe", "llama4", "smollm3"), _STILL_STEP)
_STATE_PARTS = frozenset({"shortconv", "ssm_a", "ssm_conv1d", "time_mix_decay", "time_mix_w1"})
_KEY_PARTS = frozenset({"attn_k", "attn_k_b", "attn_kv_a_mqa"})
_OWN_CACHES_OF_GEMMA3N = 20
# The layers that predict further tokens have no cache of their own.
_NO_CACHE_FOR_NEXTN = frozenset({
    "deepseek32", "dots3note", "glm-dsa", "hy_v3", "mimo2", "step35", *_FULL_ATTENTION_INTERVAL,
})  # fmt: skip
# GLM 5.2 and later, known by their context, index a few layers alone where they do not say which.
_SPARSELY_INDEXED_CONTEXT = 1 << 20


@dataclass(frozen=True, slots=True)
class _Sliding:
    """Of `period` layers the last (or the first, `dense_first`) attends fully.

    `size` is used where the model names none, `fixed` whatever it names. With `array` the model says it layer by layer
    (an array in a model of another architecture is not looked at).
    """

    period: int
    dense_first: bool = False
    size: int = 0
    fixed: bool = False
    array: bool = False
    blocks: int | None = None


_SLIDING = {
    "afmoe": _Sliding(4),
    "cohere2": _Sliding(4),
    "cohere2moe": _Sliding(4, dense_first=True, array=True),
    "dots3note": _Sliding(0, array=True),
    "exaone-moe": _Sliding(4, size=128),
    "exaone4": _Sliding(4, size=4096, blocks=64),
    "gemma-embedding": _Sliding(6),
    "gemma2": _Sliding(2, size=4096),
    "gemma3": _Sliding(6),
    "gemma3n": _Sliding(5),
    "gemma4": _Sliding(0, array=True),
    "gpt-oss": _Sliding(2),
    "granite_swa": _Sliding(0, array=True),
    "laguna": _Sliding(4, dense_first=True),
    "lfm2": _Sliding(0),
    "llama4": _Sliding(4, size=8192, fixed=True),
    "mellum": _Sliding(4, array=True),
    "mimo2": _Sliding(0, array=True),
    "modern-bert": _Sliding(3, dense_first=True),
    "muse-glimmer": _Sliding(4, array=True),
    "olmo2": _Sliding(4),
    "plamo3": _Sliding(8),
    "smallthinker": _Sliding(4, dense_first=True, size=4096, fixed=True),
    "step35": _Sliding(0, array=True),
}


@dataclass(frozen=True, slots=True)
class Window:
    """The width of the sliding window in tokens, and for every layer whether it looks through it."""

    size: int
    layers: tuple[bool, ...]


def window(hp: Hyperparameters) -> Window:
    """The model's sliding window."""
    pattern = hp.get("attention.sliding_window_pattern")
    rule = _SLIDING.get(hp.architecture, _Sliding(0, array=True) if isinstance(pattern, tuple) else None)
    none = Window(0, (False,) * hp.n_layer_all)
    if rule is None or rule.blocks not in {None, hp.n_layer}:
        return none
    size = hp.integer("attention.sliding_window", rule.size)
    if size == 0 or (rule.fixed and hp.architecture != "llama4" and hp.get("attention.sliding_window") is None):
        return none
    if isinstance(pattern, tuple) and rule.array:
        layers: Sequence[bool] = [bool(flag) for flag in pattern[: hp.n_layer]]
    elif isinstance(pattern, int) and rule.array and not rule.period:
        layers = [bool(pattern)] * hp.n_layer
    else:
        period = int(pattern) if isinstance(pattern, int) else rule.period
        layers = [_slides(layer, period, dense_first=rule.dense_first) for layer in range(hp.n_layer)]
    padded = (*layers, *(False,) * hp.n_layer_all)[: hp.n_layer_all]
    return Window(rule.size if rule.fixed else size, padded)


def full_attention_layers(hp: Hyperparameters) -> tuple[bool, ...]:
    """For every layer whether it caches keys and values, of all tokens or of a window."""
    if hp.architecture in _WITHOUT_CACHE | _RECURRENT:
        return (False,) * hp.n_layer_all
    end = hp.n_layer if hp.architecture in _NO_CACHE_FOR_NEXTN else _own_cache_end(hp)
    recurrent = _states_instead_of_attention(hp)
    mixing = [not n_ff for n_ff in hp.n_ff] if hp.architecture in _ONE_PART_A_LAYER else [True] * hp.n_layer_all
    return tuple(layer < end and not state and mixing[layer] for layer, state in enumerate(recurrent))


def reads_cache(hp: Hyperparameters) -> bool:
    """Whether attention looks at a cache, and not at the batch itself."""
    return hp.architecture not in _WITHOUT_CACHE | _UNREAD_CACHE


def attending_layers(hp: Hyperparameters) -> tuple[bool, ...]:
    """For every layer whether it attends: with a cache of its own, with another's, or without."""
    heads = zip(hp.n_head, hp.n_head_kv, strict=True)
    states = _states_instead_of_attention(hp)
    return tuple(min(pair) > 0 and not state for pair, state in zip(heads, states, strict=True))


def borrowed_layers(hp: Hyperparameters) -> tuple[int, ...]:
    """For every layer the one whose cache it reads: itself, or one of the last two that have their own.

    Source: `layer_reuse_cb` of llama.cpp.
    """
    end = _own_cache_end(hp)
    in_window = window(hp).layers
    return tuple(layer if layer < end else end - 1 - in_window[layer] for layer in range(hp.n_layer_all))


def indexed_layers(hp: Hyperparameters) -> tuple[bool, ...]:
    """For every layer whether it has a cache of its own for the keys of an indexer (sparse attention)."""
    if hp.architecture not in _INDEXED:
        return (False,) * hp.n_layer_all
    if hp.architecture == "minimax-m3":
        dense = hp.integer("leading_dense_block_count")
        return tuple(layer >= dense for layer in range(hp.n_layer_all))
    if hp.get("attention.indexer.types") is not None:
        indexed = [bool(kind) for kind in hp.per_layer("attention.indexer.types")]
    elif hp.architecture == "glm-dsa" and hp.integer("context_length") >= _SPARSELY_INDEXED_CONTEXT:
        indexed = [layer < 2 or layer % 4 == 2 for layer in range(hp.n_layer)]
    else:
        indexed = [True] * hp.n_layer
    return tuple(layer < hp.n_layer and indexed[layer] for layer in range(hp.n_layer_all))


def factor_layers(hp: Hyperparameters) -> tuple[bool, ...]:
    """For every layer whether it uses the rotary factors that all of a model's layers share."""
    if hp.architecture == "gemma4":
        return tuple(not sliding for sliding in window(hp).layers)
    return (True,) * hp.n_layer_all


def rotating_layers(hp: Hyperparameters) -> tuple[bool, ...]:
    """For every layer whether it tells tokens apart by rotating queries and keys by their positions."""
    # Of the two sizes of Baichuan one rotates, the other adds to the scores.
    if hp.architecture == "granitehybrid" and hp.get("rope.scaling.finetuned") is False:
        return (False,) * hp.n_layer_all
    if hp.architecture in _WITHOUT_ROTATION or (hp.architecture == "baichuan" and hp.n_layer != _SMALL_BAICHUAN):
        return (False,) * hp.n_layer_all
    in_window = window(hp)
    if hp.architecture in _ROTATES_IN_WINDOWS and in_window.size:
        dense = hp.integer("leading_dense_block_count") if hp.architecture == "cohere2moe" else 0
        return tuple(slides or layer < dense for layer, slides in enumerate(in_window.layers))
    if hp.architecture == "smallthinker":
        return tuple(not in_window.size or layer % _STILL_STEP != 0 for layer in range(hp.n_layer_all))
    step = _STILL_EVERY.get(hp.architecture)
    return tuple(step is None or (layer + 1) % step != 0 for layer in range(hp.n_layer_all))


def recurrent_layers(hp: Hyperparameters) -> tuple[bool, ...]:
    """For every layer whether it keeps a state."""
    if hp.architecture in _RECURRENT or hp.architecture == "falcon-h1":
        return (True,) * hp.n_layer_all
    interval = _FULL_ATTENTION_INTERVAL.get(hp.architecture)
    if interval is not None:
        if hp.get("attention.recurrent_layers") is not None:
            return tuple(map(bool, hp.per_layer("attention.recurrent_layers")))
        interval = max(hp.integer("full_attention_interval", interval), 1)
        return tuple(layer < hp.n_layer and (layer + 1) % interval != 0 for layer in range(hp.n_layer_all))
    if hp.architecture in _HEADLESS_IS_RECURRENT:
        without_ff = hp.architecture in _ONE_PART_A_LAYER
        return tuple(
            heads == 0 and not (without_ff and n_ff) for heads, n_ff in zip(hp.n_head_kv, hp.n_ff, strict=True)
        )
    stateful = _blocks_with(hp, _STATE_PARTS)  # an architecture that is not known, by what its layers are made of
    return tuple(layer in stateful for layer in range(hp.n_layer_all))


def recurrent_state(hp: Hyperparameters) -> tuple[int, int]:
    """Elements of one sequence's state in a recurrent layer: of the convolution, and of the recurrence.

    Source: `n_embd_r` and `n_embd_s` of llama.cpp.
    """
    conv, inner, size = hp.integer("ssm.conv_kernel"), hp.integer("ssm.inner_size"), hp.integer("ssm.state_size")
    if head := hp.integer("wkv.head_size"):
        return hp.integer("token_shift_count", 2) * hp.n_embd, hp.n_embd * head
    if length := hp.integer("shortconv.l_cache"):
        return hp.n_embd * (length - 1), 0
    heads = hp.n_head[0] if hp.n_head else 0
    if head := hp.integer("kda.head_dim"):
        return 3 * ((conv or 4) - 1) * heads * head, heads * head * head
    if hp.architecture == "minimax-01":
        return 0, heads * hp.key_length * hp.key_length
    return max(conv - 1, 0) * (inner + 2 * hp.integer("ssm.group_count") * size), size * inner


def _states_instead_of_attention(hp: Hyperparameters) -> tuple[bool, ...]:
    """For every layer whether it keeps a state and does not attend besides, as those of Falcon-H1 do."""
    both = _blocks_with(hp, _KEY_PARTS) if hp.architecture not in _HEADLESS_IS_RECURRENT else frozenset[int]()
    return tuple(state and layer not in both for layer, state in enumerate(recurrent_layers(hp)))


def _blocks_with(hp: Hyperparameters, parts: frozenset[str]) -> frozenset[int]:
    """The layers that have one of these weights."""
    names = (tensor.name.split(".") for tensor in hp.header.tensors)
    return frozenset(
        int(name[1])
        for name in names
        if len(name) > 2 and name[0] == "blk" and name[1].isdecimal() and name[2] in parts
    )


def _own_cache_end(hp: Hyperparameters) -> int:
    if hp.architecture == "gemma3n":
        return min(hp.n_layer_all, _OWN_CACHES_OF_GEMMA3N)
    shared = hp.integer("attention.shared_kv_layers") if hp.architecture == "gemma4" else 0
    return hp.n_layer_all - min(max(shared, 0), max(hp.n_layer_all - 2, 0))  # the last two lend theirs


def _slides(layer: int, period: int, *, dense_first: bool) -> bool:
    if period == 0:
        return True
    return layer % period != 0 if dense_first else layer % period < period - 1
