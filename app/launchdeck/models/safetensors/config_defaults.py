"""What a config.json leaves out because the class of the model has it as its default.

Models with eyes keep the shape of their language model in an inner object, which holds only what differs from the
defaults of its class: google/gemma-3-4b-it says nothing of its heads, llava-1.5-7b nothing of its layers.
Source: the configuration classes of transformers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_GEMMA_3 = {
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "head_dim": 256,
    "vocab_size": 262208,
    "max_position_embeddings": 131072,
    "sliding_window": 4096,
    "sliding_window_pattern": 6,
    "tie_word_embeddings": True,
}
_DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "llama": {
        "hidden_size": 4096,
        "intermediate_size": 11008,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "vocab_size": 32000,
        "max_position_embeddings": 2048,
        "tie_word_embeddings": False,
    },
    "mistral": {
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "vocab_size": 32000,
        "tie_word_embeddings": False,
    },
    "gemma": {"head_dim": 256, "tie_word_embeddings": True},
    "gemma2": {
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "head_dim": 256,
        "vocab_size": 256000,
        "max_position_embeddings": 8192,
        "sliding_window": 4096,
        "sliding_window_pattern": 2,
        "tie_word_embeddings": True,
    },
    "gemma3": _GEMMA_3,
    "gemma3_text": _GEMMA_3,
    "cohere2": {"sliding_window_pattern": 4, "tie_word_embeddings": True},
    "gpt2": {"tie_word_embeddings": True},
}


def defaults_of(model_type: object) -> Mapping[str, Any]:
    """What holds for this type of model where its config.json says nothing; empty for a type that says all."""
    return _DEFAULTS.get(model_type, {}) if isinstance(model_type, str) else {}
