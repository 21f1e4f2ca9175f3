"""Which layers of a model look at everything, which through a window, and which keep a state instead.

Source: `load_arch_hparams` of every architecture, and `create_memory`, of llama.cpp b10605.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from launchdeck.models.architectures.traits import Cache, Indexer, Recurrence, Rotation, Sliding

if TYPE_CHECKING:
    from collections.abc import Sequence

    from launchdeck.planning.llama.hyperparameters import Hyperparameters

_LAYERS_OF_SMALL_BAICHUAN = 32
_STILL_STEP = 4
_STATE_PARTS = frozenset({"shortconv", "ssm_a", "ssm_conv1d", "time_mix_decay", "time_mix_w1"})
_KEY_PARTS = frozenset({"attn_k", "attn_k_b", "attn_kv_a_mqa"})
# GLM 5.2 and later, known by their context, index a few layers alone where they do not say which.
_SPARSELY_INDEXED_CONTEXT = 1 << 20


@dataclass(frozen=True, slots=True)
class Window:
    """The width of the sliding window in tokens, and for every layer whether it looks through it."""

    size: int
    layers: tuple[bool, ...]


def window(hp: Hyperparameters) -> Window:
    """Read the model's sliding window."""
    pattern = hp.get("attention.sliding_window_pattern")
    rule = hp.traits.window or (Sliding(0, array=True) if isinstance(pattern, tuple) else None)
    none = Window(0, (False,) * hp.n_layer_all)
    if rule is None or rule.blocks not in {None, hp.n_layer}:
        return none
    size = hp.integer("attention.sliding_window", rule.size)
    unnamed = hp.get("attention.sliding_window") is None
    if size == 0 or (rule.fixed and not rule.unasked and unnamed):
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
    """Tell for every layer whether it caches keys and values, of all tokens or of a window."""
    traits = hp.traits
    if traits.cache is Cache.NONE or traits.recurrence is Recurrence.EVERY_LAYER:
        return (False,) * hp.n_layer_all
    end = _own_cache_end(hp) if traits.nextn_caches else hp.n_layer
    recurrent = _states_instead_of_attention(hp)
    mixing = [not n_ff for n_ff in hp.n_ff] if traits.one_part_a_layer else [True] * hp.n_layer_all
    return tuple(layer < end and not state and mixing[layer] for layer, state in enumerate(recurrent))


def reads_cache(hp: Hyperparameters) -> bool:
    """Tell whether attention looks at a cache, and not at the batch itself."""
    return hp.traits.cache is Cache.READ


def attending_layers(hp: Hyperparameters) -> tuple[bool, ...]:
    """Tell for every layer whether it attends: with a cache of its own, with another's, or without."""
    heads = zip(hp.n_head, hp.n_head_kv, strict=True)
    states = _states_instead_of_attention(hp)
    return tuple(min(pair) > 0 and not state for pair, state in zip(heads, states, strict=True))


def reused_layers(hp: Hyperparameters) -> tuple[int, ...]:
    """Find for every layer the one whose cache it reads: itself, or one of the last two that have their own.

    Source: `layer_reuse_cb` of llama.cpp.
    """
    end = _own_cache_end(hp)
    in_window = window(hp).layers
    return tuple(layer if layer < end else end - 1 - in_window[layer] for layer in range(hp.n_layer_all))


def indexed_layers(hp: Hyperparameters) -> tuple[bool, ...]:
    """Tell for every layer whether it caches the keys of an indexer (sparse attention)."""
    indexer = hp.traits.indexer
    if indexer is Indexer.NONE:
        return (False,) * hp.n_layer_all
    if indexer is Indexer.AFTER_DENSE_LAYERS:
        dense = hp.integer("leading_dense_block_count")
        return tuple(layer >= dense for layer in range(hp.n_layer_all))
    if hp.get("attention.indexer.types") is not None:
        indexed = [bool(kind) for kind in hp.per_layer("attention.indexer.types")]
    elif indexer is Indexer.SPARSE_FOR_LONG_CONTEXTS and hp.integer("context_length") >= _SPARSELY_INDEXED_CONTEXT:
        indexed = [layer < 2 or layer % 4 == 2 for layer in range(hp.n_layer)]
    else:
        indexed = [True] * hp.n_layer
    return tuple(layer < hp.n_layer and indexed[layer] for layer in range(hp.n_layer_all))


def factor_layers(hp: Hyperparameters) -> tuple[bool, ...]:
    """Tell for every layer whether it uses the rotary factors that all of a model's layers share."""
    if hp.traits.factors_in_full_layers:
        return tuple(not sliding for sliding in window(hp).layers)
    return (True,) * hp.n_layer_all


def rotating_layers(hp: Hyperparameters) -> tuple[bool, ...]:
    """Tell for every layer whether it rotates queries and keys by the tokens' positions (RoPE)."""
    in_window = window(hp)
    return tuple(_rotates(hp, layer, in_window) for layer in range(hp.n_layer_all))


def _rotates(hp: Hyperparameters, layer: int, in_window: Window) -> bool:
    match hp.traits.rotation:
        case Rotation.NO_LAYER:
            return False
        case Rotation.IF_32_LAYERS:
            return hp.n_layer == _LAYERS_OF_SMALL_BAICHUAN
        case Rotation.UNLESS_NOT_FINETUNED:
            return hp.get("rope.scaling.finetuned") is not False
        case Rotation.IN_WINDOWS:
            return not in_window.size or in_window.layers[layer]
        case Rotation.IN_WINDOWS_AND_DENSE_LAYERS:
            dense = layer < hp.integer("leading_dense_block_count")
            return not in_window.size or in_window.layers[layer] or dense
        case Rotation.BUT_FIRST_OF_FOUR:
            return not in_window.size or layer % _STILL_STEP != 0
        case Rotation.BUT_EVERY_FOURTH:
            return (layer + 1) % _STILL_STEP != 0
        case Rotation.EVERY_LAYER:
            return True


def recurrent_layers(hp: Hyperparameters) -> tuple[bool, ...]:
    """Tell for every layer whether it keeps a state."""
    traits = hp.traits
    if traits.recurrence in {Recurrence.EVERY_LAYER, Recurrence.BESIDE_ATTENTION}:
        return (True,) * hp.n_layer_all
    if traits.recurrence is Recurrence.BUT_FOR_INTERVAL:
        if hp.get("attention.recurrent_layers") is not None:
            return tuple(map(bool, hp.per_layer("attention.recurrent_layers")))
        interval = max(hp.integer("full_attention_interval", traits.full_attention_interval), 1)
        return tuple(layer < hp.n_layer and (layer + 1) % interval != 0 for layer in range(hp.n_layer_all))
    if traits.recurrence is Recurrence.WITHOUT_HEADS:
        return tuple(
            heads == 0 and not (traits.one_part_a_layer and n_ff)
            for heads, n_ff in zip(hp.n_head_kv, hp.n_ff, strict=True)
        )
    stateful = _blocks_with(hp, _STATE_PARTS)  # an architecture that is not known, by what its layers are made of
    return tuple(layer in stateful for layer in range(hp.n_layer_all))


def recurrent_state(hp: Hyperparameters) -> tuple[int, int]:
    """Count the elements of one sequence's state in a recurrent layer: of the convolution, and of the recurrence.

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
    if hp.traits.lightning_attention:
        return 0, heads * hp.key_length * hp.key_length
    return max(conv - 1, 0) * (inner + 2 * hp.integer("ssm.group_count") * size), size * inner


def _states_instead_of_attention(hp: Hyperparameters) -> tuple[bool, ...]:
    """For every layer whether it keeps a state and does not attend besides, as those of Falcon-H1 do."""
    headless = hp.traits.recurrence is Recurrence.WITHOUT_HEADS
    both = frozenset[int]() if headless else _blocks_with(hp, _KEY_PARTS)
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
    if hp.traits.own_caches is not None:
        return min(hp.n_layer_all, hp.traits.own_caches)
    shared = hp.integer("attention.shared_kv_layers") if hp.traits.shares_caches else 0
    return hp.n_layer_all - min(max(shared, 0), max(hp.n_layer_all - 2, 0))  # the last two with one are reused


def _slides(layer: int, period: int, *, dense_first: bool) -> bool:
    if period == 0:
        return True
    return layer % period != 0 if dense_first else layer % period < period - 1
