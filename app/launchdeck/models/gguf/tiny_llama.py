"""A Llama of random numbers, small enough to be made in a moment: what a vLLM is tested with.

It has all that vLLM asks of a model: a config, weights, a tokenizer with a template for chats. Its answers are letters
without a meaning.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

CONTEXT_TOKENS = 2048
_LAYERS, _EMBD, _FF, _HEADS, _KV_HEADS, _HEAD_DIM = 2, 256, 512, 4, 2, 64
_SPECIALS = ("<unk>", "<s>", "</s>", "▁")
_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,?!:'-"
_VOCABULARY = (*_SPECIALS, *_LETTERS)
_TEMPLATE = "{% for message in messages %}{{ message['content'] }} {% endfor %}"
_SPREAD = 0.05


def write_tiny_llama(folder: Path) -> Path:
    """Make the model in this folder; gives the folder.

    Raises:
        OSError: it cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _write_weights(folder / "model.safetensors")
    (folder / "tokenizer.json").write_text(json.dumps(_tokenizer()), encoding="utf-8")
    names = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>", "chat_template": _TEMPLATE}
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": CONTEXT_TOKENS, **names}
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    (folder / "config.json").write_text(json.dumps(_config()), encoding="utf-8")
    return folder


def _config() -> dict[str, Any]:
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": _EMBD,
        "intermediate_size": _FF,
        "num_hidden_layers": _LAYERS,
        "num_attention_heads": _HEADS,
        "num_key_value_heads": _KV_HEADS,
        "head_dim": _HEAD_DIM,
        "vocab_size": len(_VOCABULARY),
        "max_position_embeddings": CONTEXT_TOKENS,
        "hidden_act": "silu",
        "rms_norm_eps": 1e-5,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "tie_word_embeddings": False,
        "torch_dtype": "float32",
    }


def _shapes() -> dict[str, tuple[int, ...]]:
    """The tensors of a Llama by the names of transformers."""
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (len(_VOCABULARY), _EMBD)}
    for layer in range(_LAYERS):
        parts = {
            "self_attn.q_proj": (_HEADS * _HEAD_DIM, _EMBD),
            "self_attn.k_proj": (_KV_HEADS * _HEAD_DIM, _EMBD),
            "self_attn.v_proj": (_KV_HEADS * _HEAD_DIM, _EMBD),
            "self_attn.o_proj": (_EMBD, _HEADS * _HEAD_DIM),
            "mlp.gate_proj": (_FF, _EMBD),
            "mlp.up_proj": (_FF, _EMBD),
            "mlp.down_proj": (_EMBD, _FF),
            "input_layernorm": (_EMBD,),
            "post_attention_layernorm": (_EMBD,),
        }
        shapes |= {f"model.layers.{layer}.{name}.weight": shape for name, shape in parts.items()}
    return shapes | {"model.norm.weight": (_EMBD,), "lm_head.weight": (len(_VOCABULARY), _EMBD)}


def _write_weights(path: Path) -> None:
    """The same numbers every time; ones where a norm multiplies."""
    import numpy as np  # noqa: PLC0415 (it takes a while, and few starts need it)

    random = np.random.default_rng(5)
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    data = b""
    for name, shape in _shapes().items():
        numbers = np.ones(shape) if len(shape) == 1 else random.normal(0, _SPREAD, shape)
        content = numbers.astype("<f4").tobytes()
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [len(data), len(data) + len(content)]}
        data += content
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)


def _tokenizer() -> dict[str, Any]:
    """A token for each letter, in the words of the library tokenizers."""
    options = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    spaces = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "never", "split": False}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": number, "content": token, **options} for number, token in enumerate(_SPECIALS[:3])],
        "normalizer": None,
        "pre_tokenizer": spaces,
        "post_processor": None,
        "decoder": spaces,
        "model": {
            "type": "BPE",
            "vocab": {token: number for number, token in enumerate(_VOCABULARY)},
            "merges": [],
            "unk_token": "<unk>",
            "byte_fallback": False,
        },
    }
