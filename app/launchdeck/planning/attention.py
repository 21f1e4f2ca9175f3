"""Which layers of a model look at everything, which through a window, and which keep a state instead.

Source: `load_arch_hparams` of every architecture, and `create_memory`, of llama.cpp b10605.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from launchdeck.planning.hyperparameters import Hyperparameters

_RECURRENT = frozenset({"mamba", "mamba2", "rwkv6", "rwkv6qwen2", "rwkv7", "arwkv7"})
# Encoders and diffusion models see the whole text each time.
_WITHOUT_CACHE = frozenset({
    "bert", "dream", "eurobert", "gemma-embedding", "jina-bert-v2", "jina-bert-v3", "llada", "llada-moe", "modern-bert",
    "neo-bert", "nomic-bert", "nomic-bert-moe", "rnd1", "wavtokenizer-dec",
})  # fmt: skip
# A recurrent layer is one without heads for keys.
_HEADLESS_IS_RECURRENT = frozenset({
    "jamba", "granitehybrid", "plamo2", "lfm2", "lfm2moe", "kimi-linear", "nemotron_h", "nemotron_h_moe", "bailingmoe3",
    "kimi-k3",
})  # fmt: skip
# Every so-manieth layer attends, the others are recurrent.
_FULL_ATTENTION_INTERVAL = {"qwen3next": 4, "qwen35": 4, "qwen35moe": 4}
# The layers that predict further tokens have no cache of their own.
_NO_CACHE_FOR_NEXTN = frozenset({"step35", "hy_v3", "mimo2", *_FULL_ATTENTION_INTERVAL})


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
    rule = _SLIDING.get(hp.architecture)
    none = Window(0, (False,) * hp.n_layer_all)
    if rule is None or rule.blocks not in {None, hp.n_layer}:
        return none
    size = hp.integer("attention.sliding_window", rule.size)
    if size == 0 or (rule.fixed and hp.architecture != "llama4" and hp.get("attention.sliding_window") is None):
        return none
    pattern = hp.get("attention.sliding_window_pattern")
    if isinstance(pattern, tuple) and rule.array:
        layers: Sequence[bool] = [bool(flag) for flag in pattern[: hp.n_layer]]
    else:
        period = int(pattern) if isinstance(pattern, int) else rule.period
        layers = [_slides(layer, period, dense_first=rule.dense_first) for layer in range(hp.n_layer)]
    padded = (*layers, *(False,) * hp.n_layer_all)[: hp.n_layer_all]
    return Window(rule.size if rule.fixed else size, padded)


def full_attention_layers(hp: Hyperparameters) -> tuple[bool, ...]:
    """For every layer whether it caches keys and values, of all tokens or of a window."""
    if hp.architecture in _WITHOUT_CACHE | _RECURRENT:
        return (False,) * hp.n_layer_all
    end = hp.n_layer if hp.architecture in _NO_CACHE_FOR_NEXTN else hp.n_layer_all
    if hp.architecture == "gemma3n":
        end = min(end, 20)
    elif hp.architecture == "gemma4":
        end -= hp.integer("attention.shared_kv_layers")
    recurrent = (False,) * hp.n_layer_all if hp.architecture == "falcon-h1" else recurrent_layers(hp)
    return tuple(layer < end and not state for layer, state in enumerate(recurrent))


def factor_layers(hp: Hyperparameters) -> tuple[bool, ...]:
    """For every layer whether it uses the rotary factors that all of a model's layers share."""
    if hp.architecture == "gemma4":
        return tuple(not sliding for sliding in window(hp).layers)
    return (True,) * hp.n_layer_all


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
        without_ff = hp.architecture.startswith("nemotron_h")
        return tuple(
            heads == 0 and not (without_ff and n_ff) for heads, n_ff in zip(hp.n_head_kv, hp.n_ff, strict=True)
        )
    return (False,) * hp.n_layer_all


def recurrent_state(hp: Hyperparameters) -> tuple[int, int]:
    """Elements of one sequence's state in a recurrent layer: of the convolution, and of the recurrence.

    Source: `n_embd_r` and `n_embd_s` of llama.cpp.
    """
    conv, inner, size = hp.integer("ssm.conv_kernel"), hp.integer("ssm.inner_size"), hp.integer("ssm.state_size")
    if head := hp.integer("wkv.head_size"):
        return hp.integer("token_shift_count", 2) * hp.n_embd, hp.n_embd * head
    if length := hp.integer("shortconv.l_cache"):
        return hp.n_embd * (length - 1), 0
    if head := hp.integer("kda.head_dim"):
        heads = max(hp.n_head, default=0)
        return 3 * ((conv or 4) - 1) * heads * head, heads * head * head
    return max(conv - 1, 0) * (inner + 2 * hp.integer("ssm.group_count") * size), size * inner


def _slides(layer: int, period: int, *, dense_first: bool) -> bool:
    if period == 0:
        return True
    return layer % period != 0 if dense_first else layer % period < period - 1
