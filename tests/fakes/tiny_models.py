"""A model that vLLM really serves, made of random numbers: a BERT of sentence-transformers."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fakes.safetensors_writer import bert_config, write_embedder, write_model

_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,?!:'-"


def tiny_embedder(folder: Path) -> Path:
    """A vector of 128 numbers for a text, by the mean. vLLM's attention for the CPU takes heads of 32 and more."""
    shape = {"hidden_size": 128, "num_attention_heads": 2}
    rest = {"hidden_act": "gelu", "layer_norm_eps": 1e-12, "type_vocab_size": 2, "pad_token_id": 0}
    config = bert_config(**shape, **rest, position_embedding_type="absolute")
    write_embedder(folder)
    write_model(folder, config, _bert_tensors(config), "F32")
    _fill(folder / "model.safetensors")
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    vocabulary = {token: number for number, token in enumerate([*specials, *_LETTERS, *(f"##{x}" for x in _LETTERS)])}
    _write_tokenizer(
        folder,
        model={
            "type": "WordPiece",
            "vocab": vocabulary,
            "unk_token": "[UNK]",
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
        },
        specials=specials,
        pre_tokenizer={"type": "BertPreTokenizer"},
        decoder={"type": "WordPiece", "prefix": "##", "cleanup": True},
        names={"unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]", "pad_token": "[PAD]"},
    )
    return folder


def _bert_tensors(config: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """All that `BertModel` of transformers has, but for the pooler."""
    embd, ff = config["hidden_size"], config["intermediate_size"]
    tensors: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (config["vocab_size"], embd),
        "embeddings.position_embeddings.weight": (config["max_position_embeddings"], embd),
        "embeddings.token_type_embeddings.weight": (config["type_vocab_size"], embd),
        "embeddings.LayerNorm.weight": (embd,),
        "embeddings.LayerNorm.bias": (embd,),
    }
    parts = {
        "attention.self.query": (embd, embd),
        "attention.self.key": (embd, embd),
        "attention.self.value": (embd, embd),
        "attention.output.dense": (embd, embd),
        "intermediate.dense": (ff, embd),
        "output.dense": (embd, ff),
    }
    for layer in range(config["num_hidden_layers"]):
        prefix = f"encoder.layer.{layer}"
        for name, shape in parts.items():
            tensors |= {f"{prefix}.{name}.weight": shape, f"{prefix}.{name}.bias": shape[:1]}
        for norm in ("attention.output.LayerNorm", "output.LayerNorm"):
            tensors |= {f"{prefix}.{norm}.weight": (embd,), f"{prefix}.{norm}.bias": (embd,)}
    return tensors


def _fill(path: Path) -> None:
    """Small random numbers where the writer has left a hole; ones for what norms multiply with."""
    random = np.random.default_rng(5)
    with path.open("r+b") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
        for name, entry in header.items():
            if name == "__metadata__":
                continue
            count = math.prod(entry["shape"])
            is_scale = name.lower().endswith("norm.weight")
            numbers = np.ones(count) if is_scale else random.normal(0, 0.05, count)
            file.seek(8 + length + entry["data_offsets"][0])
            file.write(numbers.astype(np.float32).tobytes())


def _write_tokenizer(
    folder: Path,
    *,
    model: Mapping[str, Any],
    specials: list[str],
    pre_tokenizer: Mapping[str, Any],
    decoder: Mapping[str, Any],
    names: Mapping[str, Any],
) -> None:
    """In the words of the library tokenizers."""
    options = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    document = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": number, "content": token, **options} for number, token in enumerate(specials)],
        "normalizer": None,
        "pre_tokenizer": pre_tokenizer,
        "post_processor": None,
        "decoder": decoder,
        "model": model,
    }
    (folder / "tokenizer.json").write_text(json.dumps(document))
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 512, **names}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
