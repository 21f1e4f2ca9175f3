"""The many ways in which a config.json tells a model's shape, or does not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fakes.safetensors_writer import llama_config, llama_tensors, write_model
from launchdeck.models.safetensors.config_json import ModelConfig, parse_config
from launchdeck.models.safetensors.safetensors import read_safetensors


def without(*names: str, **changes: Any) -> dict[str, Any]:
    return {name: value for name, value in llama_config(**changes).items() if name not in names}


def test_a_model_with_eyes_leaves_its_defaults_out() -> None:
    gemma = parse_config({
        "architectures": ["Gemma3ForConditionalGeneration"],
        "model_type": "gemma3",
        "text_config": {
            "hidden_size": 2560, "intermediate_size": 10240, "model_type": "gemma3_text",
            "num_hidden_layers": 34, "sliding_window": 1024,
        },
        "torch_dtype": "bfloat16",
    })  # fmt: skip
    assert (gemma.n_head, gemma.n_head_kv, gemma.head_dim, gemma.n_vocab) == (8, 4, 256, 262208)
    assert (gemma.sliding_window, len(gemma.window_layers), 5 in gemma.window_layers) == (1024, 29, False)
    assert gemma.tied_embeddings is True
    llava = parse_config(
        {
            "architectures": ["LlavaForConditionalGeneration"],
            "tie_word_embeddings": True,
            "text_config": {"model_type": "llama", "vocab_size": 32064, "max_position_embeddings": 4096},
        }
    )
    assert (llava.n_layer, llava.n_head, llava.n_head_kv, llava.head_dim, llava.n_vocab) == (32, 32, 32, 128, 32064)
    assert llava.tied_embeddings is False


def test_what_is_null_inside_is_taken_from_outside() -> None:
    config = parse_config(
        {
            "architectures": ["X"],
            "quantization_config": {"quant_method": "fp8"},
            "text_config": llama_config(quantization_config=None, torch_dtype=None),
            "dtype": "float16",
        }
    )
    assert (config.quantisation, config.dtype) == ("fp8", "float16")


@pytest.mark.parametrize(
    ("said", "tied"), [({}, None), ({"tie_word_embeddings": True}, True), ({"tie_word_embeddings": None}, None)]
)
def test_tied_only_where_it_says_so(said: dict[str, Any], tied: bool | None) -> None:
    assert parse_config(without("tie_word_embeddings", "model_type") | said).tied_embeddings is tied


@pytest.mark.parametrize(
    ("said", "window", "layers"),
    [
        ({"sliding_window": 4096}, 4096, {0, 1, 2, 3}),
        ({"sliding_window": None}, None, set()),
        ({"sliding_window": 4096, "use_sliding_window": False}, None, set()),
        ({"sliding_window": 4096, "use_sliding_window": True, "max_window_layers": 3}, 4096, {3}),
        ({"sliding_window": 4096, "use_sliding_window": True, "max_window_layers": 28}, 4096, set()),
        ({"sliding_window": 512, "sliding_window_pattern": 2}, 512, {0, 2}),
        ({"model_type": "gemma2"}, 4096, {0, 2}),
        ({"sliding_window": 128, "layer_types": ["sliding_attention", "full_attention"] * 2}, 128, {0, 2}),
    ],
)
def test_windows(said: dict[str, Any], window: int | None, layers: set[int]) -> None:
    config = parse_config(llama_config(**said))
    assert (config.sliding_window, set(config.window_layers)) == (window, layers)


@pytest.mark.parametrize(
    ("said", "layers"),
    [
        ({"layer_types": ["linear_attention", "full_attention"] * 2}, {0, 2}),
        ({"full_attention_interval": 4}, {0, 1, 2}),
        ({"attn_layer_period": 4, "attn_layer_offset": 2}, {0, 1, 3}),
        ({"hybrid_override_pattern": "M-*M"}, {0, 1, 3}),
        ({"attn_layer_indices": [1, 3, "x"]}, {0, 2}),
        ({}, set()),
    ],
)
def test_layers_without_a_cache_of_tokens(said: dict[str, Any], layers: set[int]) -> None:
    assert set(parse_config(llama_config(**said)).state_layers) == layers


def config_of(folder: Path, config: dict[str, Any], dtype: str = "BF16") -> ModelConfig:
    return read_safetensors(write_model(folder, config, llama_tensors(llama_config()), dtype)).config


def test_what_is_missing_is_read_off_the_tensors(tmp_path: Path) -> None:
    config = config_of(tmp_path, without("num_hidden_layers", "num_key_value_heads", "torch_dtype", model_type="new"))
    assert (config.n_layer, config.n_head_kv, config.dtype) == (4, 2, "bfloat16")


@pytest.mark.parametrize(("said", "n_layer"), [({}, 4), ({"num_hidden_layers": 3}, 3), ({"num_hidden_layers": 40}, 4)])
def test_there_are_no_more_layers_than_are_stored(tmp_path: Path, said: dict[str, Any], n_layer: int) -> None:
    assert config_of(tmp_path, without("num_hidden_layers") | said).n_layer == n_layer


@pytest.mark.parametrize(("stored", "dtype"), [("F16", "float16"), ("F32", "float32"), ("BF16", "bfloat16")])
def test_the_type_is_that_of_most_numbers(tmp_path: Path, stored: str, dtype: str) -> None:
    assert config_of(tmp_path, without("torch_dtype"), stored).dtype == dtype


def test_the_heads_are_those_that_the_keys_have(tmp_path: Path) -> None:
    assert config_of(tmp_path, llama_config(num_key_value_heads=4)).n_head_kv == 2
    packed = config_of(tmp_path, llama_config(quantization_config={"quant_method": "awq", "bits": 4}), "I32")
    assert packed.n_head_kv == 2


@pytest.mark.parametrize("infinity", [float("inf"), {"__float__": "Infinity"}, 10**30])
def test_a_number_without_end_costs_no_model(tmp_path: Path, infinity: object) -> None:
    """As transformers writes it for Mamba 2 and its kin: in two ways, see findings/config-json-infinity.sh."""
    config = config_of(tmp_path, llama_config(time_step_limit=[0.0, infinity], model_max_length=infinity))
    assert (config.n_layer, config.n_embd) == (4, 256)
