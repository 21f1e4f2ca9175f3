"""What a model's config.json says about its shape, in the words of transformers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from launchdeck.domain.text import Message
from launchdeck.files import reading
from launchdeck.models.errors import AGAIN, unreadable, unusable
from launchdeck.models.safetensors.config_defaults import defaults_of

if TYPE_CHECKING:
    from pathlib import Path

    from launchdeck.domain.errors import LaunchdeckError

_NUMBER_LIMIT = 1 << 40
_BLOCK_LIMIT = 1024
# Models with eyes or ears keep their language model's shape one level down.
_INNER = ("text_config", "llm_config", "language_config", "thinker_config")
_WINDOW_LAYER = "sliding_attention"
_STATE_LAYERS = frozenset({"linear_attention", "mamba", "conv", "recurrent"})


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """None: it is not said. `dtype` is a word of torch: float16, bfloat16, float32. `tied_embeddings`: the output layer
    is the table of embeddings.

    `window_layers` are the layers whose cache holds `sliding_window` tokens at most, `state_layers` those that keep no
    cache of tokens at all. `kv_lora_rank` is set for models with latent attention (MLA), whose cache holds that many
    numbers and `rope_head_dim` more for a token of a layer.
    """

    architectures: tuple[str, ...]
    model_type: str | None
    n_layer: int | None
    n_head: int | None
    n_head_kv: int | None
    head_dim: int | None
    n_embd: int | None
    n_ff: int | None
    n_vocab: int | None
    context_length: int | None
    dtype: str | None
    quantisation: str | None
    tied_embeddings: bool | None
    label_count: int | None = None
    kv_lora_rank: int | None = None
    rope_head_dim: int = 0
    sliding_window: int | None = None
    window_layers: frozenset[int] = frozenset()
    state_layers: frozenset[int] = frozenset()

    @property
    def architecture(self) -> str | None:
        return self.architectures[0] if self.architectures else None


def read_config(path: Path) -> ModelConfig:
    """Read a config.json.

    Raises:
        LaunchdeckError: It cannot be read, or is no JSON object.
    """
    return parse_config(read_object(path))


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in a small file.

    Raises:
        LaunchdeckError: It cannot be read, or holds something else.
    """
    found = read_json(path)
    if not isinstance(found, dict):
        raise damaged(path)
    return found


def read_json(path: Path) -> Any:
    """The JSON in a small file.

    Raises:
        LaunchdeckError: It cannot be read, or is none, or is too long to be what it should be.
    """
    try:
        return reading.read_json(path, foreign=True)
    except OSError as error:
        raise unreadable(path, error) from error
    except ValueError:
        raise damaged(path) from None


def damaged(path: Path) -> LaunchdeckError:
    """The error of a small file that is not what it should be."""
    return unusable(Message("The file {path} is damaged.", path=str(path)), AGAIN)


def parse_config(document: dict[str, Any]) -> ModelConfig:
    """The shape in a config.json's object; what is missing or no sensible value is None."""
    inner: dict[str, Any] = next((document[key] for key in _INNER if isinstance(document.get(key), dict)), {})
    said = {**document, **{key: value for key, value in inner.items() if value is not None}}
    defaults = defaults_of(said.get("model_type"))
    both = {**defaults, **said}
    n_layer = _integer(both, "num_hidden_layers", "n_layer", "n_layers", "num_layers", limit=_BLOCK_LIMIT)
    n_head = _integer(both, "num_attention_heads", "n_head", "n_heads", "num_heads")
    n_embd = _integer(both, "hidden_size", "n_embd", "d_model", "dim")
    window, window_layers = _window(both, n_layer or 0)
    labels = document.get("id2label")
    return ModelConfig(
        architectures=_words(document.get("architectures")),
        model_type=_word(document.get("model_type")),
        n_layer=n_layer,
        n_head=n_head,
        n_head_kv=_integer(both, "num_key_value_heads", "num_kv_heads", "multi_query_group_num") or n_head,
        head_dim=_integer(both, "head_dim") or (n_embd // n_head if n_embd and n_head else None),
        n_embd=n_embd,
        n_ff=_integer(both, "intermediate_size", "ffn_dim", "n_inner", "moe_intermediate_size"),
        n_vocab=_integer(both, "vocab_size"),
        context_length=_integer(both, "max_position_embeddings", "n_positions", "max_seq_len", "seq_length"),
        dtype=_word(both.get("dtype") or both.get("torch_dtype")),
        quantisation=_quantisation(both),
        tied_embeddings=_truth(inner or document, defaults, both, name="tie_word_embeddings"),
        label_count=len(labels) if isinstance(labels, dict) else None,
        kv_lora_rank=_integer(both, "kv_lora_rank"),
        rope_head_dim=_integer(both, "qk_rope_head_dim") or 0,
        sliding_window=window,
        window_layers=window_layers,
        state_layers=_state_layers(both, n_layer or 0),
    )


def _window(both: dict[str, Any], n_layer: int) -> tuple[int | None, frozenset[int]]:
    """The window and the layers that have it: those of `layer_types`, those of a repeated pattern, or all."""
    window = _integer(both, "sliding_window")
    if window is None or both.get("use_sliding_window") is False:
        return None, frozenset()
    if isinstance(both.get("layer_types"), list):
        return window, _layers_of_type(both, frozenset({_WINDOW_LAYER}))
    pattern = _integer(both, "sliding_window_pattern", "_sliding_window_pattern")
    if pattern:  # every n-th layer sees everything
        return window, frozenset(layer for layer in range(n_layer) if (layer + 1) % pattern)
    # Qwen's first layers see everything where the window is switched on.
    first = both.get("max_window_layers") if both.get("use_sliding_window") is True else 0
    return window, frozenset(range(first if type(first) is int and first > 0 else 0, n_layer))


def _state_layers(both: dict[str, Any], n_layer: int) -> frozenset[int]:
    """The layers without a cache of tokens, in the words of Qwen3-Next, Jamba, Nemotron-H and Bamba."""
    layers = frozenset(range(n_layer))
    if isinstance(both.get("layer_types"), list):
        return _layers_of_type(both, _STATE_LAYERS)
    if (interval := _integer(both, "full_attention_interval")) is not None:
        return frozenset(layer for layer in layers if (layer + 1) % interval)
    if (period := _integer(both, "attn_layer_period")) is not None:
        return frozenset(layer for layer in layers if layer % period != both.get("attn_layer_offset", 0))
    if isinstance(pattern := both.get("hybrid_override_pattern"), str):
        return frozenset(layer for layer in layers if pattern[layer : layer + 1] != "*")
    if isinstance(seeing := both.get("attn_layer_indices"), list):
        return layers - {layer for layer in seeing if type(layer) is int}
    return frozenset()


def _layers_of_type(both: dict[str, Any], wanted: frozenset[str]) -> frozenset[int]:
    types = both.get("layer_types")
    if not isinstance(types, list):
        return frozenset()
    return frozenset(
        layer for layer, name in enumerate(types[:_BLOCK_LIMIT]) if isinstance(name, str) and name in wanted
    )


def _quantisation(both: dict[str, Any]) -> str | None:
    """The method and, where it says so, its bits: "awq 4-bit", "fp8"."""
    found = both.get("quantization_config") or both.get("compression_config")
    if not isinstance(found, dict):
        return None
    method = _word(found.get("quant_method")) or "quantised"
    bits = _integer(found, "bits", limit=64) or (4 if found.get("load_in_4bit") is True else None)
    return method if bits is None else f"{method} {bits}-bit"


def _integer(document: dict[str, Any], *names: str, limit: int = _NUMBER_LIMIT) -> int | None:
    """The first of these that is a whole number from 1 to the limit."""
    values = (document.get(name) for name in names)
    return next((value for value in values if type(value) is int and 0 < value <= limit), None)


def _truth(*places: Mapping[str, Any], name: str) -> bool | None:
    """As the first of these places has it that says yes or no."""
    return next((place[name] for place in places if isinstance(place.get(name), bool)), None)


def _word(value: Any) -> str | None:
    return value.removeprefix("torch.")[:100] if isinstance(value, str) else None


def _words(value: Any) -> tuple[str, ...]:
    return tuple(word[:100] for word in value if isinstance(word, str)) if isinstance(value, list) else ()
