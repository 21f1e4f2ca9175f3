"""Models in safetensors format: read, described and found; and files that lie about themselves."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fakes.gguf_models import llama
from fakes.safetensors_writer import (
    bert_config,
    bert_tensors,
    llama_config,
    write_embedder,
    write_file,
    write_model,
    write_sharded,
)
from launchdeck.domain.errors import Cause, LaunchdeckError
from launchdeck.domain.model import ModelFormat, ServerType
from launchdeck.models.describe import inspect
from launchdeck.models.safetensors.config_json import parse_config
from launchdeck.models.safetensors.safetensors import read_safetensors
from launchdeck.models.safetensors.safetensors_file import read_tensors
from launchdeck.models.scan import scan

BOTH = (ServerType.LLM, ServerType.EMBEDDING)


def message_of(path: Path) -> str:
    with pytest.raises(LaunchdeckError) as caught:
        read_tensors(path)
    assert caught.value.failure.cause is Cause.MODEL_UNUSABLE
    return str(caught.value)


def test_a_folder_is_described(tmp_path: Path) -> None:
    info = inspect(write_model(tmp_path / "Tiny-Llama"))
    assert (info.name, info.format, info.architecture) == ("Tiny-Llama", ModelFormat.SAFETENSORS, "LlamaForCausalLM")
    assert (info.block_count, info.layer_count, info.context_length, info.quantisation) == (4, 5, 2048, "BF16")
    assert info.server_types == BOTH
    assert info.size_bytes == (info.path / "model.safetensors").stat().st_size
    assert info.problem is None
    assert inspect(info.path / "model.safetensors") == info


def test_shards_are_one_model(tmp_path: Path) -> None:
    files = write_sharded(tmp_path / "big", 3)
    write_file(tmp_path / "big" / "consolidated.safetensors", {"layers.0.w": (4, 4)})
    whole = read_safetensors(write_model(tmp_path / "whole"))
    header = read_safetensors(tmp_path / "big")
    assert header.files == tuple(files)
    assert sorted(tensor.name for tensor in header.tensors) == sorted(tensor.name for tensor in whole.tensors)
    assert header.size_bytes == sum(file.stat().st_size for file in files)


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    files = write_sharded(tmp_path / "big", 3)
    files[1].unlink()
    assert files[1].name in str(inspect(tmp_path / "big").problem)


@pytest.mark.parametrize("name", ["../other.safetensors", "/etc/passwd", "a/b.safetensors", ""])
def test_an_index_cannot_lead_out_of_its_folder(tmp_path: Path, name: str) -> None:
    write_sharded(tmp_path / "m", 2)
    (tmp_path / "m" / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"w": name}}))
    assert "is damaged" in str(inspect(tmp_path / "m").problem)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "not a safetensors file"),
        (b"GGUF\x03\0\0\0" + bytes(100), "not a safetensors file"),
        (b"<html>not found</html>" * 10, "not a safetensors file"),
        ((1 << 60).to_bytes(8, "little") + b"{}", "not a safetensors file"),
        ((100).to_bytes(8, "little") + b"{}", "incomplete"),
        ((2).to_bytes(8, "little") + b"{]", "is no JSON"),
        ((5000).to_bytes(8, "little") + b"{" + b'"a":[' * 999 + b"[" * 4, "is no JSON"),
    ],
)
def test_what_is_no_header(tmp_path: Path, data: bytes, words: str) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(data)
    assert words in message_of(path)


@pytest.mark.parametrize(
    "entry",
    [
        None,
        [],
        {},
        {"dtype": "F99", "shape": [1], "data_offsets": [0, 2]},
        {"dtype": "F16", "shape": [1], "data_offsets": [0]},
        {"dtype": "F16", "shape": [-1], "data_offsets": [0, 2]},
        {"dtype": "F16", "shape": [1.0], "data_offsets": [0, 2]},
        {"dtype": "F16", "shape": [True], "data_offsets": [0, 2]},
        {"dtype": "F16", "shape": [1 << 62, 1 << 62], "data_offsets": [0, 2]},
        {"dtype": "F16", "shape": [10**4000] * 2000, "data_offsets": [0, 2]},
        {"dtype": "F16", "shape": [1 << 62] * 500_000, "data_offsets": [0, 2]},
        {"dtype": "F16", "shape": [1], "data_offsets": [2, 0]},
        {"dtype": "F16", "shape": [2], "data_offsets": [0, 2]},
        {"dtype": ["F16"], "shape": [1], "data_offsets": [0, 2]},
    ],
)
def test_a_tensor_that_cannot_be(tmp_path: Path, entry: Any) -> None:
    assert "is damaged" in message_of(write_file(tmp_path / "m.safetensors", {}, w=entry))


def test_a_half_download_says_what_is_missing(tmp_path: Path) -> None:
    path = write_model(tmp_path / "m") / "model.safetensors"
    size = path.stat().st_size
    os.truncate(path, size // 2)
    assert f"{size // 2} of {size} bytes" in message_of(path)
    assert "incomplete" in str(inspect(tmp_path / "m").problem)


def test_a_pipe_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "model.safetensors")
    assert "not a file" in message_of(tmp_path / "model.safetensors")


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz.safetensors"
    path.write_bytes(len(data).to_bytes(8, "little") + b"{" + data)
    try:
        read_tensors(path)
    except LaunchdeckError as error:
        assert error.failure.cause is Cause.MODEL_UNUSABLE  # noqa: PT017


@pytest.mark.parametrize("text", ["", "[]", "{", '"x"', "[" * 100_000, " " * (5 << 20)])
def test_a_broken_config_is_a_problem(tmp_path: Path, text: str) -> None:
    write_model(tmp_path / "m")
    (tmp_path / "m" / "config.json").write_text(text)
    assert "config.json is damaged" in str(inspect(tmp_path / "m").problem)


def test_an_empty_config_does_not_say_what_it_is(tmp_path: Path) -> None:
    info = inspect(write_model(tmp_path / "m", {}, {"w": (2, 2)}))
    assert "does not say what kind" in str(info.problem)
    assert info.server_types == ()


@pytest.mark.parametrize(
    ("config", "types", "pooling"),
    [
        (llama_config(), BOTH, None),
        (llama_config(architectures=["Qwen2VLForConditionalGeneration"]), BOTH, None),
        (bert_config(), (ServerType.EMBEDDING,), None),
        (bert_config(architectures=["BertForSequenceClassification"], id2label={"0": "x"}), BOTH[1:], "rank"),
        (bert_config(architectures=["BertForSequenceClassification"], id2label={"0": "x", "1": "y"}), BOTH[1:], None),
    ],
)
def test_what_a_network_was_made_for(
    tmp_path: Path, config: dict[str, Any], types: tuple[ServerType, ...], pooling: str | None
) -> None:
    info = inspect(write_model(tmp_path / "m", config, {"w": (2, 2)}))
    assert (info.server_types, info.pooling) == (types, pooling)


@pytest.mark.parametrize(("mode", "pooling"), [("mean_tokens", "mean"), ("cls_token", "cls"), ("lasttoken", "last")])
def test_sentence_transformers_embed_and_say_how(tmp_path: Path, mode: str, pooling: str) -> None:
    info = inspect(write_embedder(tmp_path / "minilm", pooling=mode))
    assert (info.server_types, info.pooling, info.context_length) == ((ServerType.EMBEDDING,), pooling, 256)


def test_a_decoder_that_was_trained_to_embed_is_no_language_model(tmp_path: Path) -> None:
    folder = write_embedder(tmp_path / "m")
    (folder / "config.json").write_text(json.dumps(llama_config()))
    assert inspect(folder).server_types == (ServerType.EMBEDDING,)


def test_the_shape_may_stand_one_level_down() -> None:
    config = parse_config({"architectures": ["X"], "text_config": llama_config(architectures=None)})
    assert (config.architecture, config.n_layer, config.n_head_kv, config.head_dim) == ("X", 4, 2, 64)


@pytest.mark.parametrize(
    ("changes", "window", "layers"),
    [
        ({}, None, set()),
        ({"sliding_window": 512}, 512, {0, 1, 2, 3}),
        ({"sliding_window": 512, "use_sliding_window": False}, None, set()),
        ({"sliding_window": 512, "sliding_window_pattern": 2}, 512, {0, 2}),
        ({"sliding_window": 512, "layer_types": ["sliding_attention", "full_attention"] * 2}, 512, {0, 2}),
    ],
)
def test_sliding_windows(changes: dict[str, Any], window: int | None, layers: set[int]) -> None:
    config = parse_config(llama_config(**changes))
    assert (config.sliding_window, config.window_layers) == (window, layers)


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ({"quant_method": "awq", "bits": 4}, "awq 4-bit"),
        ({"quant_method": "fp8"}, "fp8"),
        ({"load_in_4bit": True, "quant_method": "bitsandbytes"}, "bitsandbytes 4-bit"),
        ({}, None),
        ("awq", None),
    ],
)
def test_quantisation(found: Any, words: str | None) -> None:
    assert parse_config(llama_config(quantization_config=found)).quantisation == words


@pytest.mark.parametrize("value", ["x", -1, 0, 1.5, True, None, [], 1 << 70])
def test_impossible_numbers_are_not_believed(value: Any) -> None:
    config = parse_config(dict.fromkeys(llama_config(), value))
    assert (config.n_layer, config.n_embd, config.n_vocab, config.context_length) == (None,) * 4
    assert config.architectures == ()


def test_the_cache_of_hugging_face(tmp_path: Path) -> None:
    repository = tmp_path / "hub" / "models--Qwen--Qwen3-0.6B"
    blobs = repository / "blobs"
    blobs.mkdir(parents=True)
    original = write_model(tmp_path / "made")
    for revision in ("aaaa", "bbbb"):
        snapshot = repository / "snapshots" / revision
        snapshot.mkdir(parents=True)
        for file in original.iterdir():
            blob = blobs / file.name.encode().hex()
            blob.write_bytes(file.read_bytes())
            (snapshot / file.name).symlink_to(blob)
    (model,) = scan([tmp_path / "hub"])
    assert model.name == "Qwen3-0.6B"
    assert model.path == repository / "snapshots" / "aaaa"


def test_a_scan_finds_folders_beside_files_and_leaves_parts_out(tmp_path: Path) -> None:
    llama().write(tmp_path / "b.gguf")
    write_model(tmp_path / "a")
    write_model(tmp_path / "diffusion" / "unet", {"_class_name": "UNet"}, {"w": (2, 2)})
    embedder = write_embedder(tmp_path / "c")
    write_model(embedder / "2_Dense", {"in_features": 64}, {"w": (2, 2)})
    (tmp_path / "adapter").mkdir()
    write_file(tmp_path / "adapter" / "adapter_model.safetensors", {"w": (2, 2)})
    write_model(tmp_path / "d")
    os.truncate(tmp_path / "d" / "model.safetensors", 100)
    found = {model.name: model for model in scan([tmp_path])}
    assert list(found) == ["b", "a", "c", "d"]
    assert found["d"].problem is not None
    assert found["d"].size_bytes == 100


def test_a_bert_has_its_tensors(tmp_path: Path) -> None:
    header = read_safetensors(write_model(tmp_path / "m", bert_config(), bert_tensors(bert_config()), "F32"))
    assert header.tensors[0].n_bytes == 500 * 64 * 4
    assert header.tensors[0].element_count == 500 * 64
