"""Models that put the parts of a layer together in an order of their own, as GGUF files without data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fakes.gguf_models import Size, Tensors, attention, biases, decoder, feed_forward, norms
from fakes.gguf_writer import Gguf, Tensor

if TYPE_CHECKING:
    from collections.abc import Iterable


def gptneox(*, parallel: bool = True) -> Gguf:
    """Pythia: the feed-forward part has a norm of its own, but works beside the attention."""
    size = Size("gptneox", 4, 2048, 16, 16, 8192, 128, 50304)

    def block(i: int) -> Tensors:
        return [*_normed(i, size, "attn_norm", "ffn_norm"), *_fused(i, size), *_without_gate(i, size)]

    return _normed_output(decoder(size, block, use_parallel_residual=parallel), size)


def phi2() -> Gguf:
    """The attention's result comes before the feed-forward part's."""
    size = Size("phi2", 4, 2048, 32, 32, 8192, 64, 51200)

    def block(i: int) -> Tensors:
        return [*_normed(i, size, "attn_norm"), *_fused(i, size), *_without_gate(i, size)]

    model = _normed_output(decoder(size, block), size)
    return Gguf(model.metadata, (*model.tensors, Tensor("output.bias", (51200,))))


def falcon() -> Gguf:
    """Falcon 40B: another norm for each of the two parts."""
    size = Size("falcon", 4, 2048, 32, 4, 8192, 64, 65024)

    def block(i: int) -> Tensors:
        return [
            *_normed(i, size, "attn_norm", "attn_norm_2"),
            size.matrix(f"blk.{i}.attn_qkv.weight", size.n_embd, size.q + 2 * size.kv),
            size.matrix(f"blk.{i}.attn_output.weight", size.q, size.n_embd),
            *feed_forward(i, size, gate=False),
        ]

    return _normed_output(decoder(size, block), size)


def stablelm() -> Gguf:
    """The attention's result and what went past it are added up first."""
    size = Size("stablelm", 4, 1152, 9, 3, 2080, 128, 50304, quant="q8_0")

    def block(i: int) -> Tensors:
        return [*_normed(i, size, "attn_norm"), *attention(i, size), *feed_forward(i, size)]

    return _normed_output(decoder(size, block), size)


def bloom() -> Gguf:
    """A norm of the embeddings first, and nothing is rotated."""
    size = Size("bloom", 4, 2048, 16, 16, 8192, 128, 65536)

    def block(i: int) -> Tensors:
        return [*_normed(i, size, "attn_norm", "ffn_norm"), *_fused(i, size), *_without_gate(i, size)]

    model = _normed_output(decoder(size, block), size)
    norm = (Tensor(f"token_embd_norm.{part}", (size.n_embd,)) for part in ("weight", "bias"))
    return Gguf(model.metadata, (*model.tensors, *norm))


def olmo() -> Gguf:
    """Norms without weights."""
    size = Size("olmo", 4, 2048, 16, 16, 8192, 128, 50304)
    model = decoder(size, lambda i: [*attention(i, size), *feed_forward(i, size)], tied=True)
    return Gguf(model.metadata, tuple(tensor for tensor in model.tensors if tensor.name != "output_norm.weight"))


def own_orders() -> Iterable[tuple[str, Gguf]]:
    """One model of each."""
    yield "gptneox", gptneox()
    yield "gptneox, one part after the other", gptneox(parallel=False)
    yield "phi2", phi2()
    yield "falcon", falcon()
    yield "stablelm", stablelm()
    yield "bloom", bloom()
    yield "olmo", olmo()


def _normed(i: int, size: Size, *names: str) -> Tensors:
    return [*norms(i, size.n_embd, *names), *biases(i, dict.fromkeys(names, size.n_embd))]


def _normed_output(model: Gguf, size: Size) -> Gguf:
    return Gguf(model.metadata, (*model.tensors, Tensor("output_norm.bias", (size.n_embd,))))


def _fused(i: int, size: Size) -> Tensors:
    width = size.q + 2 * size.kv
    return [
        size.matrix(f"blk.{i}.attn_qkv.weight", size.n_embd, width),
        size.matrix(f"blk.{i}.attn_output.weight", size.q, size.n_embd),
        *biases(i, {"attn_qkv": width, "attn_output": size.n_embd}),
    ]


def _without_gate(i: int, size: Size) -> Tensors:
    return [*feed_forward(i, size, gate=False), *biases(i, {"ffn_up": size.n_ff, "ffn_down": size.n_embd})]
