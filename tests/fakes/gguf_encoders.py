"""Encoders besides BERT: their tokens look at each other, and some normalise or rotate where BERT does not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fakes.gguf_models import Size, Tensors, attention, biases, decoder, experts, feed_forward, norms
from fakes.gguf_writer import Gguf, Tensor

if TYPE_CHECKING:
    from collections.abc import Callable


def neo_bert() -> Gguf:
    """Queries, keys and values in one matrix, gate and up in another."""
    size = Size("neo-bert", 6, 768, 12, 12, 2048, 64, 30522, 4096, "f16")

    def block(i: int) -> Tensors:
        return [*norms(i, 768, "attn_norm", "ffn_norm"), *_fused(i, size)]

    return decoder(size, block, tied=True, pooling_type=1, output_norm="enc.output_norm")


def modern_bert() -> Gguf:
    """Windows; the first block's norm is the one of the embeddings."""
    size = Size("modern-bert", 7, 768, 12, 12, 1152, 64, 50368, 8192, "f16")

    def block(i: int) -> Tensors:
        return [*norms(i, 768, *(["attn_norm"] if i else []), "ffn_norm"), *_fused(i, size)]

    model = decoder(size, block, tied=True, attention__sliding_window=128, pooling_type=1)
    return Gguf(model.metadata, (*model.tensors, Tensor("token_embd_norm.weight", (768,))))


def jina_bert(architecture: str, *, head_norm: bool = False) -> Gguf:
    """The second version has a gate, and for code norms of queries and keys; the third rotates."""
    size = Size(architecture, 6, 768, 12, 12, 3072, 64, 30528, 8192, "f16")

    def block(i: int) -> Tensors:
        tensors = [*attention(i, size, bias=True), *feed_forward(i, size, gate=architecture == "jina-bert-v2")]
        tensors += biases(i, {"attn_output": 768, "ffn_down": 768})
        if head_norm:
            names = ("attn_q_norm", "attn_k_norm")
            tensors += [*norms(i, 768, *names), *biases(i, dict.fromkeys(names, 768))]
        return tensors

    return _like_bert(size, block, kinds=2)


def nomic_bert_moe() -> Gguf:
    """In every other block experts without a gate."""
    size = Size("nomic-bert-moe", 6, 768, 12, 12, 3072, 64, 50000, 512, "f16")

    def block(i: int) -> Tensors:
        tensors = [*_fused(i, size)[:2], *biases(i, {"attn_qkv": 3 * 768, "attn_output": 768})]
        if i % 2:
            return tensors + [part for part in experts(i, size, 8, 3072) if "ffn_gate_exps" not in part.name]
        return [*tensors, *feed_forward(i, size, gate=False), *biases(i, {"ffn_up": 3072, "ffn_down": 768})]

    return _like_bert(size, block, kinds=1, moe_every_n_layers=2, expert_count=8, expert_used_count=2)


def _fused(i: int, size: Size) -> Tensors:
    return [
        size.matrix(f"blk.{i}.attn_qkv.weight", size.n_embd, size.q + 2 * size.kv),
        size.matrix(f"blk.{i}.attn_output.weight", size.q, size.n_embd),
        size.matrix(f"blk.{i}.ffn_up.weight", size.n_embd, 2 * size.n_ff),
        size.matrix(f"blk.{i}.ffn_down.weight", size.n_ff, size.n_embd),
    ]


def _like_bert(size: Size, block: Callable[[int], Tensors], *, kinds: int, **extra: Any) -> Gguf:
    """With norms after each part, and one for the embeddings and the `kinds` of tokens that are added to them."""
    names = ("attn_output_norm", "layer_output_norm")

    def normed(i: int) -> Tensors:
        lengths = dict.fromkeys(names, size.n_embd)
        return [*norms(i, size.n_embd, *names), *biases(i, lengths), *block(i)]

    model = decoder(size, normed, tied=True, pooling_type=1, attention__causal=False, **extra)
    tensors = [tensor for tensor in model.tensors if tensor.name != "output_norm.weight"]
    tensors += [Tensor(f"token_embd_norm.{part}", (size.n_embd,)) for part in ("weight", "bias")]
    tensors.append(Tensor("token_types.weight", (size.n_embd, kinds)))
    return Gguf({**model.metadata, "tokenizer.ggml.token_type_count": kinds}, tuple(tensors))
