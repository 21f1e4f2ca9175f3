"""Models that place something in a way of their own, as GGUF files without data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fakes.gguf_models import Size, Tensors, attention, biases, decoder, experts, feed_forward, norms
from fakes.gguf_t5 import t5_encoder
from fakes.gguf_writer import Gguf, Tensor

if TYPE_CHECKING:
    from collections.abc import Iterable


def deepseek32() -> Gguf:
    """Compressed keys, and beside them those of an indexer in every layer but the one that predicts further tokens."""
    size = Size("deepseek32", 6, 4096, 32, 1, 12288, 576, 129280)
    rank, rope, key, value, query, indexer = 512, 64, 192, 128, 1536, 128

    def block(i: int) -> Tensors:
        tensors = [
            *norms(i, 4096, "attn_norm", "ffn_norm"),
            *norms(i, rank, "attn_kv_a_norm"),
            *norms(i, query, "attn_q_a_norm"),
            *norms(i, indexer, "indexer.k_norm"),
            *biases(i, {"indexer.k_norm": indexer}),
            size.matrix(f"blk.{i}.attn_q_a.weight", 4096, query),
            size.matrix(f"blk.{i}.attn_q_b.weight", query, 32 * key),
            size.matrix(f"blk.{i}.attn_kv_a_mqa.weight", 4096, rank + rope),
            size.matrix(f"blk.{i}.attn_k_b.weight", key - rope, rank, 32),
            size.matrix(f"blk.{i}.attn_v_b.weight", rank, value, 32),
            size.matrix(f"blk.{i}.attn_output.weight", 32 * value, 4096),
            size.matrix(f"blk.{i}.indexer.proj.weight", 4096, 8),
            size.matrix(f"blk.{i}.indexer.attn_k.weight", 4096, indexer),
            size.matrix(f"blk.{i}.indexer.attn_q_b.weight", query, 8 * indexer),
            *experts(i, size, 32, 1408),
            *biases(i, {"exp_probs_b": 32}),
            *feed_forward(i, size, 1408, "_shexp"),
        ]
        if i == size.n_layer - 1:
            tensors.append(size.matrix(f"blk.{i}.nextn.eh_proj.weight", 8192, 4096))
            tensors += norms(i, 4096, "nextn.enorm", "nextn.hnorm")
        return tensors

    return decoder(
        size,
        block,
        attention__value_length=rank,
        attention__key_length_mla=key,
        attention__value_length_mla=value,
        attention__kv_lora_rank=rank,
        attention__q_lora_rank=query,
        attention__indexer__head_count=8,
        attention__indexer__key_length=indexer,
        attention__indexer__top_k=2048,
        rope__dimension_count=rope,
        leading_dense_block_count=0,
        expert_count=32,
        expert_used_count=8,
        expert_shared_count=1,
        expert_feed_forward_length=1408,
        expert_gating_func=2,
        nextn_predict_layers=1,
    )


def minimax_m3() -> Gguf:
    """A dense layer first; the others have keys of an indexer besides, and values that its cache has no use for."""
    size = Size("minimax-m3", 6, 3072, 32, 4, 8192, 128, 200064)

    def block(i: int) -> Tensors:
        tensors = [
            *norms(i, 3072, "attn_norm", "ffn_norm"),
            *attention(i, size, head_norm=True),
        ]
        if i == 0:
            return tensors + feed_forward(i, size)
        return [
            *tensors,
            *experts(i, size, 32, 1536),
            *biases(i, {"exp_probs_b": 32}),
            *feed_forward(i, size, 1536, "_shexp"),
            size.matrix(f"blk.{i}.indexer.q_proj.weight", 3072, 4 * 128),
            size.matrix(f"blk.{i}.indexer.k_proj.weight", 3072, 128),
            *norms(i, 128, "indexer.q_norm", "indexer.k_norm"),
        ]

    return decoder(
        size,
        block,
        attention__indexer__head_count=4,
        attention__indexer__key_length=128,
        attention__indexer__top_k=16,
        attention__indexer__block_size=128,
        attention__indexer__local_blocks=1,
        leading_dense_block_count=1,
        expert_count=32,
        expert_used_count=4,
        expert_shared_count=1,
        expert_feed_forward_length=1536,
        expert_gating_func=2,
    )


def grok() -> Gguf:
    """Never with flash attention."""
    size = Size("grok", 6, 4096, 32, 8, 16384, 128, 131072)

    def block(i: int) -> Tensors:
        names = ("attn_norm", "attn_output_norm", "ffn_norm", "post_ffw_norm")
        return [*norms(i, 4096, *names), *attention(i, size), *experts(i, size, 8, size.n_ff)]

    return decoder(size, block, tied=True, expert_count=8, expert_used_count=2)


def bitnet() -> Gguf:
    """Embeddings that give the results as well, from where they are."""
    size = Size("bitnet", 12, 2560, 20, 5, 6912, 128, 128256)

    def block(i: int) -> Tensors:
        return [
            *norms(i, 2560, "attn_norm", "attn_sub_norm", "ffn_norm"),
            *norms(i, 6912, "ffn_sub_norm"),
            *attention(i, size),
            *feed_forward(i, size),
        ]

    return decoder(size, block, tied=True)


def codeshell() -> Gguf:
    """Without embeddings: it takes the output's matrix for them."""
    size = Size("codeshell", 12, 4096, 32, 8, 16384, 128, 70144)

    def block(i: int) -> Tensors:
        lengths = {"attn_norm": 4096, "ffn_norm": 4096, "attn_output": 4096, "ffn_up": 16384, "ffn_down": 4096}
        return [
            *norms(i, 4096, "attn_norm", "ffn_norm"),
            *attention(i, size),
            *feed_forward(i, size, gate=False),
            *biases(i, lengths),
        ]

    model = decoder(size, block)
    tensors = [tensor for tensor in model.tensors if tensor.name != "token_embd.weight"]
    return Gguf(model.metadata, (*tensors, Tensor("output_norm.bias", (4096,))))


def rare() -> Iterable[tuple[str, Gguf]]:
    """One model of each."""
    yield "deepseek32", deepseek32()
    yield "minimax-m3", minimax_m3()
    yield "grok", grok()
    yield "bitnet", bitnet()
    yield "codeshell", codeshell()
    yield "t5encoder", t5_encoder()
