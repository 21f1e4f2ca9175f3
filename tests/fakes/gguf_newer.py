"""Architectures that llama.cpp did not have in build 10605, and has in 11434."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fakes.gguf_models import Size, Tensors, attention, decoder, experts, feed_forward, norms

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fakes.gguf_writer import Gguf


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


def newer_architectures() -> Iterable[tuple[str, Gguf]]:
    """One model of each."""
    yield "maple", maple()
    yield "spark2_5", spark()
