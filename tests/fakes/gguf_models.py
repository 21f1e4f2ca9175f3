"""Models of many architectures, as GGUF files without data: enough for a header, and for the engine's accounting."""

from __future__ import annotations

from typing import Any

from fakes.gguf_writer import Gguf, Tensor


def llama(
    *,
    architecture: str = "llama",
    n_layer: int = 2,
    n_embd: int = 256,
    n_head: int = 4,
    n_head_kv: int = 2,
    n_ff: int = 512,
    head_dim: int | None = None,
    n_vocab: int = 512,
    n_ctx: int = 4096,
    quant: str = "q8_0",
    tied: bool = False,
    attention_bias: bool = False,
    head_norm: bool = False,
    **extra: Any,
) -> Gguf:
    """A dense decoder: Llama, Qwen2 (`attention_bias`), Qwen3 (`head_norm`). `extra` goes into the metadata."""
    head_dim = head_dim or n_embd // n_head
    tensors = [Tensor("token_embd.weight", (n_embd, n_vocab), quant), Tensor("output_norm.weight", (n_embd,))]
    if not tied:
        tensors.append(Tensor("output.weight", (n_embd, n_vocab), quant))
    for i in range(n_layer):
        tensors += [
            Tensor(f"blk.{i}.attn_norm.weight", (n_embd,)),
            *attention(i, n_embd, n_head * head_dim, n_head_kv * head_dim, quant, bias=attention_bias),
            Tensor(f"blk.{i}.ffn_norm.weight", (n_embd,)),
            *feed_forward(i, n_embd, n_ff, quant),
        ]
        if head_norm:
            tensors += [Tensor(f"blk.{i}.attn_{x}_norm.weight", (head_dim,)) for x in "qk"]
    metadata = base(architecture, n_layer, n_embd, n_ctx, n_vocab) | {
        f"{architecture}.feed_forward_length": n_ff,
        f"{architecture}.attention.head_count": n_head,
        f"{architecture}.attention.head_count_kv": n_head_kv,
        f"{architecture}.attention.key_length": head_dim,
        f"{architecture}.attention.value_length": head_dim,
        f"{architecture}.rope.dimension_count": head_dim,
        f"{architecture}.attention.layer_norm_rms_epsilon": 1e-5,
    }
    return Gguf(metadata | extra, tuple(tensors))


def base(architecture: str, n_layer: int, n_embd: int, n_ctx: int, n_vocab: int) -> dict[str, Any]:
    """The metadata that every model has. Without a tokenizer the engine takes the vocabulary's size from its key."""
    return {
        "general.architecture": architecture,
        f"{architecture}.block_count": n_layer,
        f"{architecture}.embedding_length": n_embd,
        f"{architecture}.context_length": n_ctx,
        f"{architecture}.vocab_size": n_vocab,
        "tokenizer.ggml.model": "no_vocab",
    }


def attention(i: int, n_embd: int, q: int, kv: int, quant: str, *, bias: bool = False) -> list[Tensor]:
    """Separate Q, K, V and the projection of their result."""
    tensors = [
        Tensor(f"blk.{i}.attn_q.weight", (n_embd, q), quant),
        Tensor(f"blk.{i}.attn_k.weight", (n_embd, kv), quant),
        Tensor(f"blk.{i}.attn_v.weight", (n_embd, kv), quant),
        Tensor(f"blk.{i}.attn_output.weight", (q, n_embd), quant),
    ]
    if bias:
        tensors += [Tensor(f"blk.{i}.attn_{x}.bias", (size,)) for x, size in (("q", q), ("k", kv), ("v", kv))]
    return tensors


def feed_forward(i: int, n_embd: int, n_ff: int, quant: str) -> list[Tensor]:
    """Gate, up and down."""
    return [
        Tensor(f"blk.{i}.ffn_gate.weight", (n_embd, n_ff), quant),
        Tensor(f"blk.{i}.ffn_down.weight", (n_ff, n_embd), quant),
        Tensor(f"blk.{i}.ffn_up.weight", (n_embd, n_ff), quant),
    ]
