"""Architectures that llama.cpp did not have in build 10605, and has in 11434."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fakes.gguf_models import Size, Tensors, attention, decoder, experts, feed_forward, norms
from fakes.gguf_writer import Gguf, Tensor

if TYPE_CHECKING:
    from collections.abc import Iterable


def spark() -> Gguf:
    """Dense, most layers with a sliding window; what heads find is weighed by a gate for each."""
    size = Size("spark2_5", 8, 2048, 16, 4, 6144, 128, 131072)

    def block(i: int) -> Tensors:
        return [
            *norms(i, size.n_embd, "attn_norm", "ffn_norm"),
            *attention(i, size),
            size.matrix(f"blk.{i}.attn_gate.weight", size.n_embd, size.n_head),
            *feed_forward(i, size),
        ]

    slides = [i % 4 != 3 for i in range(size.n_layer)]
    return decoder(size, block, attention__sliding_window=1024, attention__sliding_window_pattern=slides)


def maple() -> Gguf:
    """Experts; only layers with a window rotate."""
    size = Size("maple", 8, 2048, 16, 4, 768, 128, 131072)

    def block(i: int) -> Tensors:
        attending = [*norms(i, size.n_embd, "attn_norm", "ffn_norm"), *attention(i, size, head_norm=True)]
        return [*attending, *experts(i, size, 32, size.n_ff)]

    slides = [i % 4 != 3 for i in range(size.n_layer)]
    return decoder(
        size,
        block,
        attention__sliding_window=1024,
        attention__sliding_window_pattern=slides,
        expert_count=32,
        expert_used_count=4,
        expert_feed_forward_length=size.n_ff,
        swiglu_clamp_exp=7.0,
    )


def granite_switch() -> Gguf:
    """Granite with adapters in the model, and an attention of one head that chooses among them."""
    size, slots, rank = Size("graniteswitch", 8, 2048, 16, 4, 6144, 128, 49152), 3, 32
    fused = size.q + 2 * size.kv
    ends = {
        "attn_q": (size.n_embd, size.q),
        "attn_k": (size.n_embd, size.kv),
        "attn_v": (size.n_embd, size.kv),
        "attn_output": (size.q, size.n_embd),
        "ffn_gate": (size.n_embd, size.n_ff),
        "ffn_up": (size.n_embd, size.n_ff),
        "ffn_down": (size.n_ff, size.n_embd),
    }

    def block(i: int) -> Tensors:
        adapters = [
            Tensor(f"blk.{i}.{part}.lora_{letter}", (*shape, slots), "f16")
            for part, (entering, leaving) in ends.items()
            for letter, shape in (("a", (entering, rank)), ("b", (rank, leaving)))
        ]
        return [
            *norms(i, size.n_embd, "attn_norm", "ffn_norm"),
            size.matrix(f"blk.{i}.attn_qkv.weight", size.n_embd, fused),
            size.matrix(f"blk.{i}.attn_output.weight", size.q, size.n_embd),
            *feed_forward(i, size),
            *adapters,
        ]

    keys = {"adapters.count": slots - 1, "adapters.lora_rank": rank, "logit_scale": 8.0}
    keys |= {"adapters.token_ids_activate": [5, 6], "adapters.token_ids_substitute": [7, 8]}
    return decoder(size, block, **keys)


def newer_architectures() -> Iterable[tuple[str, Gguf]]:
    """One model of each."""
    yield "graniteswitch", granite_switch()
    yield "maple", maple()
    yield "spark2_5", spark()
