"""Models in safetensors format as tests need them: real headers, and data that are a hole in the file."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from launchdeck.models.safetensors.safetensors_file import TYPE_BITS

Shapes = Mapping[str, tuple[int, ...]]


def write_file(path: Path, tensors: Shapes, dtype: str = "BF16", **entries: Any) -> Path:
    """One file; `entries` go into the header as they are."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for name, shape in tensors.items():
        size = math.prod(shape) * TYPE_BITS[dtype] // 8
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header | entries).encode()
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + offset)
    return path


def llama_config(**changes: Any) -> dict[str, Any]:
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": 256,
        "intermediate_size": 688,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 64,
        "vocab_size": 1000,
        "max_position_embeddings": 2048,
        "tie_word_embeddings": False,
        "torch_dtype": "bfloat16",
    } | changes


def bert_config(**changes: Any) -> dict[str, Any]:
    return {
        "architectures": ["BertModel"],
        "model_type": "bert",
        "hidden_size": 64,
        "intermediate_size": 256,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "vocab_size": 500,
        "max_position_embeddings": 512,
        "torch_dtype": "float32",
    } | changes


def llama_tensors(config: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """The tensors of a Llama of this shape, by the names of transformers."""
    embd, ff, vocab = config["hidden_size"], config["intermediate_size"], config["vocab_size"]
    q, kv = (config[f"num_{kind}_heads"] * config["head_dim"] for kind in ("attention", "key_value"))
    tensors: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (vocab, embd)}
    for layer in range(config["num_hidden_layers"]):
        parts = {
            "self_attn.q_proj": (q, embd),
            "self_attn.k_proj": (kv, embd),
            "self_attn.v_proj": (kv, embd),
            "self_attn.o_proj": (embd, q),
            "mlp.gate_proj": (ff, embd),
            "mlp.up_proj": (ff, embd),
            "mlp.down_proj": (embd, ff),
            "input_layernorm": (embd,),
            "post_attention_layernorm": (embd,),
        }
        tensors |= {f"model.layers.{layer}.{name}.weight": shape for name, shape in parts.items()}
    return tensors | {"model.norm.weight": (embd,), "lm_head.weight": (vocab, embd)}


def bert_tensors(config: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    embd, ff = config["hidden_size"], config["intermediate_size"]
    tensors: dict[str, tuple[int, ...]] = {"embeddings.word_embeddings.weight": (config["vocab_size"], embd)}
    for layer in range(config["num_hidden_layers"]):
        tensors |= {
            f"encoder.layer.{layer}.attention.self.query.weight": (embd, embd),
            f"encoder.layer.{layer}.intermediate.dense.weight": (ff, embd),
        }
    return tensors


def write_model(
    folder: Path, config: Mapping[str, Any] | None = None, tensors: Shapes | None = None, dtype: str = "BF16"
) -> Path:
    """A whole model, a Llama if nothing else is said; gives its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    config = llama_config() if config is None else config
    (folder / "config.json").write_text(json.dumps(config))
    write_file(folder / "model.safetensors", llama_tensors(config) if tensors is None else tensors, dtype)
    return folder


def write_sharded(folder: Path, count: int, config: Mapping[str, Any] | None = None) -> Sequence[Path]:
    """The same in several files with an index; gives the files."""
    folder.mkdir(parents=True, exist_ok=True)
    config = llama_config() if config is None else config
    (folder / "config.json").write_text(json.dumps(config))
    entries = list(llama_tensors(config).items())
    paths = [folder / f"model-{number:05}-of-{count:05}.safetensors" for number in range(1, count + 1)]
    weight_map = {}
    for place, path in enumerate(paths):
        part = dict(entries[place::count])
        write_file(path, part)
        weight_map |= dict.fromkeys(part, path.name)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    return paths


def write_embedder(folder: Path, *, pooling: str = "mean_tokens", limit: int = 256) -> Path:
    """A model of sentence-transformers."""
    write_model(folder, bert_config(), bert_tensors(bert_config()), "F32")
    modules = [
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": limit}))
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({f"pooling_mode_{pooling}": True}))
    return folder
