"""One model of every architecture that the estimate is tested with, in sizes that people run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fakes.gguf_models import Size, Tensors, attention, bert, biases, decoder, experts, feed_forward, llama, norms
from fakes.gguf_rare import rare
from fakes.gguf_recurrent import falcon_h1, granite_hybrid, lfm2, mamba, mamba2, nemotron_h, qwen3next, qwen35
from fakes.gguf_writer import Gguf, Tensor

if TYPE_CHECKING:
    from collections.abc import Iterable


def gemma(architecture: str, size: Size, **extra: Any) -> Gguf:
    """Gemma 2, Gemma 3 and EmbeddingGemma: norms before and after, most layers with a sliding window."""

    def block(i: int) -> Tensors:
        return [
            *norms(i, size.n_embd, "attn_norm", "ffn_norm", "post_attention_norm", "post_ffw_norm"),
            *attention(i, size, head_norm=architecture != "gemma2"),
            *feed_forward(i, size),
        ]

    return decoder(size, block, tied=True, **extra)


def gemma4(n_layer: int = 30, *, narrow_length: int = 256) -> Gguf:
    """Wide heads in the layers that see everything, and none of their own cache in the last ones."""
    size = Size("gemma4", n_layer, 2560, 8, 2, 10240, 512, 262144)
    narrow = Size("gemma4", n_layer, 2560, 8, 2, 10240, narrow_length, 262144)
    sliding = [i % 6 != 5 for i in range(n_layer)]

    def block(i: int) -> Tensors:
        return [
            *norms(i, size.n_embd, "attn_norm", "ffn_norm", "post_attention_norm", "post_ffw_norm"),
            *attention(i, narrow if sliding[i] else size, head_norm=True),
            *feed_forward(i, size),
        ]

    model = decoder(
        size,
        block,
        tied=True,
        attention__sliding_window=1024,
        attention__sliding_window_pattern=sliding,
        attention__key_length_swa=narrow_length,
        attention__value_length_swa=narrow_length,
        attention__shared_kv_layers=6,
        embedding_length_per_layer_input=0,
    )
    return Gguf(model.metadata, (*model.tensors, Tensor("rope_freqs.weight", (size.head_dim // 2,))))


def mixtral() -> Gguf:
    size = Size("llama", 8, 4096, 32, 8, 14336, 128, 32000)

    def block(i: int) -> Tensors:
        return [*norms(i, 4096, "attn_norm", "ffn_norm"), *attention(i, size), *experts(i, size, 8, size.n_ff)]

    return decoder(size, block, expert_count=8, expert_used_count=2)


def qwen3moe() -> Gguf:
    size = Size("qwen3moe", 24, 2048, 32, 4, 6144, 128, 151936)

    def block(i: int) -> Tensors:
        attending = attention(i, size, head_norm=True)
        return [*norms(i, 2048, "attn_norm", "ffn_norm"), *attending, *experts(i, size, 128, 768)]

    return decoder(size, block, expert_count=128, expert_used_count=8, expert_feed_forward_length=768)


def qwen2moe() -> Gguf:
    """With experts that every token goes to."""
    size = Size("qwen2moe", 12, 2048, 16, 16, 5632, 128, 151936)

    def block(i: int) -> Tensors:
        return [
            *norms(i, 2048, "attn_norm", "ffn_norm", "ffn_gate_inp_shexp"),
            *attention(i, size, bias=True),
            *experts(i, size, 60, 1408),
            *feed_forward(i, size, 5632, "_shexp"),
        ]

    return decoder(
        size,
        block,
        expert_count=60,
        expert_used_count=4,
        expert_feed_forward_length=1408,
        expert_shared_feed_forward_length=5632,
    )


def gpt_oss() -> Gguf:
    size = Size("gpt-oss", 24, 2880, 64, 8, 2880, 64, 201088)

    def block(i: int) -> Tensors:
        return [
            *norms(i, 2880, "attn_norm", "post_attention_norm"),
            *attention(i, size, bias=True),
            *experts(i, size, 32, 2880),
            Tensor(f"blk.{i}.attn_sinks.weight", (64,)),
            *biases(i, {"attn_output": 2880, "ffn_gate_inp": 32}),
            *(Tensor(f"blk.{i}.ffn_{part}_exps.bias", (2880, 32)) for part in ("gate", "down", "up")),
        ]

    return decoder(
        size,
        block,
        expert_count=32,
        expert_used_count=4,
        expert_feed_forward_length=2880,
        attention__sliding_window=128,
    )


def llama4() -> Gguf:
    size = Size("llama4", 8, 5120, 40, 8, 16384, 128, 202048)

    def block(i: int) -> Tensors:
        return [
            *norms(i, 5120, "attn_norm", "ffn_norm"),
            *attention(i, size),
            *experts(i, size, 16, 8192),
            *feed_forward(i, size, 8192, "_shexp"),
        ]

    return decoder(
        size,
        block,
        expert_count=16,
        expert_used_count=1,
        expert_feed_forward_length=8192,
        interleave_moe_layer_step=1,
    )


def deepseek2(n_layer: int = 27) -> Gguf:
    """DeepSeek-V2-Lite: keys and values compressed into one vector (MLA), a dense layer first."""
    size = Size("deepseek2", n_layer, 2048, 16, 1, 10944, 576, 102400)
    rank, rope, key, value = 512, 64, 192, 128

    def block(i: int) -> Tensors:
        attending = [
            *norms(i, 2048, "attn_norm", "ffn_norm"),
            *norms(i, rank, "attn_kv_a_norm"),
            size.matrix(f"blk.{i}.attn_q.weight", 2048, 16 * key),
            size.matrix(f"blk.{i}.attn_kv_a_mqa.weight", 2048, rank + rope),
            size.matrix(f"blk.{i}.attn_k_b.weight", key - rope, rank, 16),
            size.matrix(f"blk.{i}.attn_v_b.weight", rank, value, 16),
            size.matrix(f"blk.{i}.attn_output.weight", 16 * value, 2048),
        ]
        if i == 0:
            return attending + feed_forward(i, size)
        return attending + experts(i, size, 64, 1408) + feed_forward(i, size, 2816, "_shexp")

    return decoder(
        size,
        block,
        attention__value_length=rank,
        attention__key_length_mla=key,
        attention__value_length_mla=value,
        attention__kv_lora_rank=rank,
        rope__dimension_count=rope,
        leading_dense_block_count=1,
        expert_count=64,
        expert_used_count=6,
        expert_shared_count=2,
        expert_feed_forward_length=1408,
    )


def glm4moe() -> Gguf:
    """With a last layer that only predicts further tokens, which a server does not load."""
    size = Size("glm4moe", 9, 4096, 96, 8, 10944, 128, 151552)

    def block(i: int) -> Tensors:
        tensors = [*norms(i, 4096, "attn_norm", "post_attention_norm"), *attention(i, size, bias=True)]
        if i == 0:
            return tensors + feed_forward(i, size)
        tensors += [
            *experts(i, size, 128, 1408),
            *biases(i, {"exp_probs_b": 128}),
            *feed_forward(i, size, 1408, "_shexp"),
        ]
        if i == size.n_layer - 1:
            tensors += [
                size.matrix(f"blk.{i}.nextn.eh_proj.weight", 8192, 4096),
                *norms(i, 4096, "nextn.enorm", "nextn.hnorm"),
            ]
        return tensors

    return decoder(
        size,
        block,
        expert_count=128,
        expert_used_count=8,
        expert_shared_count=1,
        expert_feed_forward_length=1408,
        leading_dense_block_count=1,
        nextn_predict_layers=1,
        rope__dimension_count=64,
    )


def olmo2() -> Gguf:
    size = Size("olmo2", 16, 4096, 32, 32, 11008, 128, 100352)

    def block(i: int) -> Tensors:
        names = ("post_attention_norm", "post_ffw_norm", "attn_q_norm", "attn_k_norm")
        return [*norms(i, 4096, *names), *attention(i, size), *feed_forward(i, size)]

    return decoder(size, block)


def cohere2() -> Gguf:
    """Attention and feed-forward side by side."""
    size = Size("cohere2", 16, 4096, 32, 8, 14336, 128, 256000)

    def block(i: int) -> Tensors:
        return [*norms(i, 4096, "attn_norm"), *attention(i, size), *feed_forward(i, size)]

    return decoder(size, block, tied=True, attention__sliding_window=4096, logit_scale=0.25)


def exaone4() -> Gguf:
    size = Size("exaone4", 64, 5120, 40, 8, 27392, 128, 102400)

    def block(i: int) -> Tensors:
        names = ("post_attention_norm", "post_ffw_norm")
        return [*norms(i, 5120, *names), *attention(i, size, head_norm=True), *feed_forward(i, size)]

    return decoder(size, block, attention__sliding_window=4096)


def phi3() -> Gguf:
    """Q, K and V in one matrix, gate and up in another; factors for long contexts."""
    size = Size("phi3", 16, 3072, 32, 32, 8192, 96, 32064)

    def block(i: int) -> Tensors:
        return [
            *norms(i, 3072, "attn_norm", "ffn_norm"),
            size.matrix(f"blk.{i}.attn_qkv.weight", 3072, 3 * 3072),
            size.matrix(f"blk.{i}.attn_output.weight", 3072, 3072),
            size.matrix(f"blk.{i}.ffn_up.weight", 3072, 2 * 8192),
            size.matrix(f"blk.{i}.ffn_down.weight", 8192, 3072),
        ]

    model = decoder(size, block, rope__scaling__original_context_length=4096)
    factors = tuple(Tensor(f"rope_factors_{length}.weight", (48,)) for length in ("long", "short"))
    return Gguf(model.metadata, model.tensors + factors)


def starcoder2() -> Gguf:
    """Without a gate, and with biases everywhere."""
    size = Size("starcoder2", 16, 3072, 24, 2, 12288, 128, 49152)

    def block(i: int) -> Tensors:
        return [
            *norms(i, 3072, "attn_norm", "ffn_norm"),
            *attention(i, size, bias=True),
            *feed_forward(i, size, gate=False),
            *biases(i, {"attn_norm": 3072, "attn_output": 3072, "ffn_norm": 3072, "ffn_down": 3072, "ffn_up": 12288}),
        ]

    model = decoder(size, block)
    return Gguf(model.metadata, (*model.tensors, Tensor("output_norm.bias", (3072,))))


def deepseek_v3() -> Gguf:
    """DeepSeek-V3's sizes, cut to a few layers: queries compressed as well, many experts."""
    size = Size("deepseek2", 6, 7168, 128, 1, 18432, 576, 129280)
    rank, rope, key, value, query = 512, 64, 192, 128, 1536

    def block(i: int) -> Tensors:
        attending = [
            *norms(i, 7168, "attn_norm", "ffn_norm"),
            *norms(i, rank, "attn_kv_a_norm"),
            *norms(i, query, "attn_q_a_norm"),
            size.matrix(f"blk.{i}.attn_q_a.weight", 7168, query),
            size.matrix(f"blk.{i}.attn_q_b.weight", query, 128 * key),
            size.matrix(f"blk.{i}.attn_kv_a_mqa.weight", 7168, rank + rope),
            size.matrix(f"blk.{i}.attn_k_b.weight", key - rope, rank, 128),
            size.matrix(f"blk.{i}.attn_v_b.weight", rank, value, 128),
            size.matrix(f"blk.{i}.attn_output.weight", 128 * value, 7168),
        ]
        if i < 3:
            return attending + feed_forward(i, size)
        return attending + experts(i, size, 256, 2048) + feed_forward(i, size, 2048, "_shexp")

    return decoder(
        size,
        block,
        attention__value_length=rank,
        attention__key_length_mla=key,
        attention__value_length_mla=value,
        attention__kv_lora_rank=rank,
        attention__q_lora_rank=query,
        rope__dimension_count=rope,
        leading_dense_block_count=3,
        expert_count=256,
        expert_used_count=8,
        expert_shared_count=1,
        expert_feed_forward_length=2048,
    )


def minimax_m2() -> Gguf:
    size = Size("minimax-m2", 6, 3072, 48, 8, 1536, 128, 200064)

    def block(i: int) -> Tensors:
        return [
            *norms(i, 3072, "attn_norm", "ffn_norm"),
            *norms(i, size.q, "attn_q_norm"),
            *norms(i, size.kv, "attn_k_norm"),
            *attention(i, size),
            *experts(i, size, 256, 1536),
            *biases(i, {"exp_probs_b": 256}),
        ]

    keys = {"expert_count": 256, "expert_used_count": 8, "expert_feed_forward_length": 1536, "expert_gating_func": 2}
    return decoder(size, block, **keys, rope__dimension_count=64)


def seed_oss() -> Gguf:
    size = Size("seed_oss", 16, 5120, 80, 8, 27648, 128, 155136)

    def block(i: int) -> Tensors:
        names = ("attn_norm", "post_attention_norm")
        return [*norms(i, 5120, *names), *attention(i, size, bias=True), *feed_forward(i, size)]

    return decoder(size, block)


def gemma3n(n_layer: int = 30) -> Gguf:
    """Gemma 3n E2B: four streams past each layer, embeddings for every layer, later layers without a cache."""
    size = Size("gemma3n", n_layer, 2048, 8, 2, 8192, 256, 262144)

    def block(i: int) -> Tensors:
        names = ("attn_norm", "ffn_norm", "post_attention_norm", "post_ffw_norm", "post_norm")
        return [
            *norms(i, 2048, *names, "altup_router_norm", "altup_correct_scale", "laurel_post_norm"),
            *attention(i, size, head_norm=True),
            *feed_forward(i, size),
            size.matrix(f"blk.{i}.inp_gate.weight", 2048, 256),
            size.matrix(f"blk.{i}.proj.weight", 256, 2048),
            Tensor(f"blk.{i}.altup_correct_coef.weight", (4, 4)),
            Tensor(f"blk.{i}.altup_predict_coef.weight", (4, 16)),
            Tensor(f"blk.{i}.altup_router.weight", (2048, 4)),
            size.matrix(f"blk.{i}.laurel_l.weight", 2048, 64),
            size.matrix(f"blk.{i}.laurel_r.weight", 64, 2048),
        ]

    model = decoder(size, block, tied=True, attention__sliding_window=512)
    extra = (
        size.matrix("per_layer_token_embd.weight", 256 * n_layer, 262144),
        size.matrix("per_layer_model_proj.weight", 2048, 256 * n_layer),
        Tensor("per_layer_proj_norm.weight", (256,)),
        size.matrix("altup_proj.weight", 2048, 2048, 3),
        size.matrix("altup_unembd_proj.weight", 2048, 2048, 3),
    )
    return Gguf(model.metadata, model.tensors + extra)


def like_llama(architecture: str, **extra: Any) -> Gguf:
    """A dense decoder of 3 billion parameters under another name."""
    return llama(
        architecture=architecture,
        n_layer=28,
        n_embd=3072,
        n_head=24,
        n_head_kv=8,
        n_ff=8192,
        n_vocab=128256,
        quant="q4_k",
        **extra,
    )


def every_architecture() -> Iterable[tuple[str, Gguf]]:
    """One model of each architecture, in sizes that people run."""
    yield "llama-8b", llama(n_layer=32, n_embd=4096, n_head=32, n_head_kv=8, n_ff=14336, n_vocab=128256, quant="q4_k")
    yield "llama-7b", llama(n_layer=32, n_embd=4096, n_head=32, n_head_kv=32, n_ff=11008, n_vocab=32000, quant="q4_k")
    yield "llama-70b", llama(n_layer=80, n_embd=8192, n_head=64, n_head_kv=8, n_ff=28672, n_vocab=128256, quant="q4_k")
    yield "qwen2-7b", llama(
        architecture="qwen2", n_layer=28, n_embd=3584, n_head=28, n_head_kv=4, n_ff=18944, n_vocab=152064, quant="q4_k",
        attention_bias=True,
    )  # fmt: skip
    yield "qwen3-0.6b", llama(
        architecture="qwen3", n_layer=28, n_embd=1024, n_head=16, n_head_kv=8, n_ff=3072, head_dim=128, n_vocab=151936,
        tied=True, head_norm=True,
    )  # fmt: skip
    yield "qwen3-32b", llama(
        architecture="qwen3", n_layer=64, n_embd=5120, n_head=64, n_head_kv=8, n_ff=25600, head_dim=128, n_vocab=151936,
        head_norm=True, quant="q4_k",
    )  # fmt: skip
    for architecture in ("smollm3", "minicpm", "mistral3", "ernie4_5", "internlm2"):
        yield architecture, like_llama(architecture)
    yield "granite", like_llama("granite", logit_scale=8.0)
    yield "gemma2", gemma("gemma2", Size("gemma2", 26, 2304, 8, 4, 9216, 256, 256000))
    yield "gemma3", gemma("gemma3", Size("gemma3", 34, 2560, 8, 4, 10240, 256, 262144), attention__sliding_window=1024)
    yield "gemma3n", gemma3n()
    yield "gemma4", gemma4()
    yield "seed_oss", seed_oss()
    yield "cohere2", cohere2()
    yield "exaone4", exaone4()
    yield "olmo2", olmo2()
    yield "phi3", phi3()
    yield "starcoder2", starcoder2()
    yield "mixtral", mixtral()
    yield "qwen2moe", qwen2moe()
    yield "qwen3moe", qwen3moe()
    yield "gpt-oss", gpt_oss()
    yield "llama4", llama4()
    yield "glm4moe", glm4moe()
    yield "minimax-m2", minimax_m2()
    yield "deepseek2", deepseek2()
    yield "deepseek-v3", deepseek_v3()
    yield from rare()
    yield "mamba", mamba()
    yield "mamba2", mamba2()
    yield "granitehybrid", granite_hybrid()
    yield "falcon-h1", falcon_h1()
    yield "lfm2", lfm2()
    yield "qwen3next", qwen3next()
    yield "qwen35", qwen35()
    yield "nemotron_h", nemotron_h()
    yield "bert", bert()
    yield "nomic-bert", bert("nomic-bert", 768, 12, 3072)
    yield (
        "gemma-embedding",
        gemma(
            "gemma-embedding",
            Size("gemma-embedding", 24, 768, 3, 1, 1152, 256, 262144, 2048, "q8_0"),
            attention__sliding_window=512,
            pooling_type=1,
        ),
    )
