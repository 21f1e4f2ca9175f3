"""Models of the architectures that nothing else of the zoo is of, each as small as llama.cpp loads it.

Their weights and keys (`data/architectures.json`) are those that build 10605 asks for: `ask_architecture.py` gave it
files until it missed nothing any more and found no shape wrong. "*" in a weight's name stands for every layer.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fakes.gguf_models import Size, Tensors, decoder, experts, feed_forward, norms
from fakes.gguf_recurrent import qwen35
from fakes.gguf_writer import Gguf, Tensor

if TYPE_CHECKING:
    from collections.abc import Iterable

_ASKED = Path(__file__).parents[1] / "data" / "architectures.json"
_KEYS = {
    "block_count": 4,
    "embedding_length": 512,
    "context_length": 8192,
    "feed_forward_length": 1024,
    "attention.head_count": 8,
    "attention.head_count_kv": 2,
    "attention.layer_norm_rms_epsilon": 1e-5,
    "attention.layer_norm_epsilon": 1e-5,
    "vocab_size": 4096,
}


def asked(architecture: str, keys: dict[str, Any], tensors: dict[str, list[int]]) -> Gguf:
    """A model with these keys besides the usual ones; those with "!" are not below the architecture."""
    keys = _KEYS | keys
    metadata: dict[str, Any] = {"general.architecture": architecture, "tokenizer.ggml.model": "no_vocab"}
    metadata |= {key[1:] if key.startswith("!") else f"{architecture}.{key}": value for key, value in keys.items()}
    layers = range(keys["block_count"])
    return Gguf(
        metadata,
        tuple(
            Tensor(name.replace("*", str(layer)), tuple(shape))
            for name, shape in tensors.items()
            for layer in (layers if "*" in name else (0,))
        ),
    )


def qwen35moe() -> Gguf:
    """Qwen 3.5 with experts, and one that every token goes to."""
    dense = qwen35()
    size = Size("qwen35moe", 16, 2560, 16, 4, 9216, 256, 248320)
    tensors = [tensor for tensor in dense.tensors if ".ffn_" not in tensor.name]
    for i in range(size.n_layer):
        tensors += [
            *experts(i, size, 8, 512),
            *feed_forward(i, size, 512, "_shexp"),
            *norms(i, 2560, "ffn_gate_inp_shexp"),
        ]
    keys = {"expert_count": 8, "expert_used_count": 2, "expert_feed_forward_length": 512}
    keys |= {"expert_shared_feed_forward_length": 512}
    metadata = {key.replace("qwen35.", "qwen35moe.", 1): value for key, value in dense.metadata.items()}
    metadata |= {f"qwen35moe.{key}": value for key, value in keys.items()}
    return Gguf(metadata | {"general.architecture": "qwen35moe"}, tuple(tensors))


def plm() -> Gguf:
    """Keys and values unfolded from one compressed vector; no gate."""
    size, rank, rope, value = Size("plm", 4, 2048, 16, 16, 8192, 192, 32000), 512, 64, 128

    def block(i: int) -> Tensors:
        return [
            *norms(i, size.n_embd, "attn_norm", "ffn_norm"),
            *norms(i, rank, "attn_kv_a_norm"),
            size.matrix(f"blk.{i}.attn_q.weight", size.n_embd, size.q),
            size.matrix(f"blk.{i}.attn_kv_a_mqa.weight", size.n_embd, rank + rope),
            size.matrix(f"blk.{i}.attn_kv_b.weight", rank, size.n_head * (size.head_dim - rope + value)),
            size.matrix(f"blk.{i}.attn_output.weight", size.n_head * value, size.n_embd),
            *feed_forward(i, size, gate=False),
        ]

    keys = {"attention.value_length": value, "attention.kv_lora_rank": rank, "rope.dimension_count": rope}
    return decoder(size, block, tied=True, **keys)


def rwkv7() -> Gguf:
    """No attention at all: each layer mixes with what it remembers."""
    shapes = {
        **dict.fromkeys(("attn_norm", "attn_norm_2", "time_mix_w0", "time_mix_a0", "time_mix_v0"), (512,)),
        **dict.fromkeys(("time_mix_k_k", "time_mix_k_a", "time_mix_r_k", "time_mix_ln"), (512,)),
        **dict.fromkeys(("time_mix_w1", "time_mix_a1", "time_mix_v1"), (512, 64)),
        **dict.fromkeys(("time_mix_w2", "time_mix_a2", "time_mix_v2"), (64, 512)),
        **dict.fromkeys(("time_mix_key", "time_mix_value", "time_mix_receptance", "time_mix_output"), (512, 512)),
        "time_mix_g1": (512, 128),
        "time_mix_g2": (128, 512),
        "time_mix_lerp_fused": (512, 1, 1, 6),
        "channel_mix_key": (512, 1024),
        "channel_mix_value": (1024, 512),
        "channel_mix_lerp_k": (512,),
    }
    tensors: dict[str, list[int]] = {f"blk.*.{name}.weight": [*shape] for name, shape in shapes.items()}
    tensors |= {f"blk.*.{name}.bias": [512] for name in ("attn_norm", "attn_norm_2", "time_mix_ln")}
    tensors |= {f"{name}.{kind}": [512] for name in ("token_embd_norm", "output_norm") for kind in ("weight", "bias")}
    tensors |= {"token_embd.weight": [512, 4096], "output.weight": [512, 4096]}
    keys = {"attention.head_count": 0, "attention.head_count_kv": 0, "wkv.head_size": 64}
    keys |= {f"attention.{rank}_lora_rank": 64 for rank in ("decay", "iclr", "value_residual_mix")}
    keys |= {"attention.gate_lora_rank": 128}
    return asked("rwkv7", keys, tensors)


def asked_architectures() -> Iterable[tuple[str, Gguf]]:
    """One model of each."""
    for name, model in json.loads(_ASKED.read_text()).items():
        yield name, asked(name, model["keys"], model["tensors"])
    yield "qwen35moe", qwen35moe()
    yield "plm", plm()
    yield "rwkv7", rwkv7()
