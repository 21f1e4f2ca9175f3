"""Models that put the parts of a layer together in an order of their own, as GGUF files without data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fakes.gguf_models import Size, Tensors, attention, biases, decoder, experts, feed_forward, norms
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


def afmoe() -> Gguf:
    """What the attention found is weighed by gates, and embeddings are scaled."""
    size = Size("afmoe", 4, 1024, 16, 4, 4096, 128, 65536)

    def block(i: int) -> Tensors:
        tensors = [
            *norms(i, size.n_embd, "attn_norm", "post_attention_norm", "ffn_norm", "post_ffw_norm"),
            *attention(i, size, head_norm=True),
            size.matrix(f"blk.{i}.attn_gate.weight", size.n_embd, size.q),
        ]
        if i == 0:
            return tensors + feed_forward(i, size)
        return [*tensors, *experts(i, size, 16, 512), *biases(i, {"exp_probs_b": 16}), *_shared(i, size)]

    keys = _routed(16, 4, 512) | {"expert_shared_count": 1, "leading_dense_block_count": 1}
    return decoder(size, block, attention__sliding_window=1024, **keys)


def step35() -> Gguf:
    """One gate for each head, of which layers with a window have more."""
    slides = [i % 4 != 0 for i in range(4)]
    full, window = (Size("step35", 4, 1024, n_head, 4, 4096, 128, 65536) for n_head in (8, 12))

    def block(i: int) -> Tensors:
        size = window if slides[i] else full
        tensors = [
            *norms(i, size.n_embd, "attn_norm", "ffn_norm"),
            *attention(i, size, head_norm=True),
            size.matrix(f"blk.{i}.attn_gate.weight", size.n_embd, size.n_head),
        ]
        if i == 0:
            return tensors + feed_forward(i, size)
        return [*tensors, *experts(i, size, 16, 512), *biases(i, {"exp_probs_b": 16}), *_shared(i, size)]

    return decoder(
        full,
        block,
        **_routed(16, 4, 512) | {"attention.head_count": [12 if narrow else 8 for narrow in slides]},
        expert_shared_feed_forward_length=512,
        leading_dense_block_count=1,
        attention__sliding_window=512,
        attention__sliding_window_pattern=slides,
        rope__freq_base_swa=10000.0,
    )


def mimo2() -> Gguf:
    """Values shorter than keys, and more of them in layers with a window, which have sinks."""
    slides = [i % 3 != 0 for i in range(4)]
    size = Size("mimo2", 4, 1024, 16, 2, 4096, 192, 65536)

    def block(i: int) -> Tensors:
        n_head_kv = 4 if slides[i] else 2
        tensors = [
            *norms(i, size.n_embd, "attn_norm", "ffn_norm"),
            size.matrix(f"blk.{i}.attn_q.weight", size.n_embd, size.q),
            size.matrix(f"blk.{i}.attn_k.weight", size.n_embd, n_head_kv * 192),
            size.matrix(f"blk.{i}.attn_v.weight", size.n_embd, n_head_kv * 128),
            size.matrix(f"blk.{i}.attn_output.weight", 16 * 128, size.n_embd),
            *(norms(i, 16, "attn_sinks") if slides[i] else ()),
        ]
        if i == 0:
            return tensors + feed_forward(i, size)
        return [*tensors, *experts(i, size, 16, 512), *biases(i, {"exp_probs_b": 16})]

    return decoder(
        size,
        block,
        **_routed(16, 4, 512) | {"attention.head_count_kv": [4 if narrow else 2 for narrow in slides]},
        attention__value_length=128,
        attention__sliding_window=128,
        attention__sliding_window_pattern=slides,
        rope__dimension_count=64,
        rope__freq_base_swa=10000.0,
    )


def smallthinker() -> Gguf:
    """Experts are chosen by what enters the layer; the first of four layers does not rotate."""
    size = Size("smallthinker", 5, 1024, 16, 4, 512, 64, 65536)

    def block(i: int) -> Tensors:
        return [*norms(i, size.n_embd, "attn_norm", "ffn_norm"), *attention(i, size), *experts(i, size, 16, 512)]

    return decoder(size, block, **_routed(16, 4, 512), attention__sliding_window=4096)


def cohere2moe() -> Gguf:
    """Experts beside the attention; the norm of all tokens is kept."""
    size = Size("cohere2moe", 4, 1024, 16, 4, 4096, 64, 65536)

    def block(i: int) -> Tensors:
        inner = feed_forward(i, size) if i == 0 else experts(i, size, 16, 512)
        return [*norms(i, size.n_embd, "attn_norm"), *attention(i, size), *inner]

    keys = _routed(16, 4, 512) | {"leading_dense_block_count": 1, "attention.sliding_window": 1024, "logit_scale": 0.25}
    return decoder(size, block, tied=True, attention__sliding_window_pattern=4, **keys)


def openelm() -> Gguf:
    """What the attention found is added to what entered, in that one's place."""
    size = Size("openelm", 4, 2048, 16, 4, 4096, 128, 32000)

    def block(i: int) -> Tensors:
        return [
            *norms(i, size.n_embd, "attn_norm", "ffn_norm"),
            *norms(i, size.head_dim, "attn_q_norm", "attn_k_norm"),
            size.matrix(f"blk.{i}.attn_qkv.weight", size.n_embd, size.q + 2 * size.kv),
            size.matrix(f"blk.{i}.attn_output.weight", size.q, size.n_embd),
            *feed_forward(i, size),
        ]

    return decoder(size, block, tied=True)


def plamo3() -> Gguf:
    """Its norms after a part are no weights by their names."""
    size = Size("plamo3", 4, 1024, 8, 2, 4096, 128, 65536)

    def block(i: int) -> Tensors:
        return [
            *norms(i, size.n_embd, "attn_norm", "ffn_norm"),
            *(Tensor(f"blk.{i}.{name}", (size.n_embd,)) for name in ("post_attention_norm", "post_ffw_norm")),
            *norms(i, size.head_dim, "attn_q_norm", "attn_k_norm"),
            size.matrix(f"blk.{i}.attn_qkv.weight", size.n_embd, size.q + 2 * size.kv),
            size.matrix(f"blk.{i}.attn_output.weight", size.q, size.n_embd),
            size.matrix(f"blk.{i}.ffn_up.weight", size.n_embd, 2 * size.n_ff),
            size.matrix(f"blk.{i}.ffn_down.weight", size.n_ff, size.n_embd),
        ]

    return decoder(size, block, attention__sliding_window=1024)


def gemma4_moe() -> Gguf:
    """Gemma 4 26B: experts and a part for all tokens; where it sees everything, values are made of the keys' matrix."""
    slides = [i % 3 != 2 for i in range(5)]
    wide, narrow = (Size("gemma4", 5, 1024, 8, n_kv, 2048, length, 65536) for n_kv, length in ((1, 256), (2, 128)))

    def block(i: int) -> Tensors:
        size = narrow if slides[i] else wide
        names = ("attn_norm", "post_attention_norm", "ffn_norm", "post_ffw_norm")
        tensors = [
            *norms(i, size.n_embd, *names, "pre_ffw_norm_2", "post_ffw_norm_1", "post_ffw_norm_2"),
            *attention(i, size, head_norm=True),
            *feed_forward(i, size),
            Tensor(f"blk.{i}.ffn_gate_inp.weight", (size.n_embd, 32)),
            Tensor(f"blk.{i}.ffn_gate_inp.scale", (size.n_embd,)),
            size.matrix(f"blk.{i}.ffn_gate_up_exps.weight", size.n_embd, 2 * 512, 32),
            size.matrix(f"blk.{i}.ffn_down_exps.weight", 512, size.n_embd, 32),
            Tensor(f"blk.{i}.ffn_down_exps.scale", (32,)),
            Tensor(f"blk.{i}.layer_output_scale.weight", (1,)),
        ]
        return [tensor for tensor in tensors if slides[i] or tensor.name != f"blk.{i}.attn_v.weight"]

    model = decoder(
        wide,
        block,
        tied=True,
        **_routed(32, 4, 512) | {"attention.head_count_kv": [2 if short else 1 for short in slides]},
        attention__sliding_window=1024,
        attention__sliding_window_pattern=slides,
        attention__key_length_swa=128,
        attention__value_length_swa=128,
        embedding_length_per_layer_input=0,
    )
    return Gguf(model.metadata, (*model.tensors, Tensor("rope_freqs.weight", (128,))))


def scaled() -> Gguf:
    """Every matrix with a factor, as files in NVFP4 have it, and one for each expert."""
    size = Size("qwen3moe", 4, 2048, 16, 4, 6144, 128, 65536, quant="q8_0")

    def block(i: int) -> Tensors:
        tensors = [*attention(i, size, head_norm=True), *experts(i, size, 32, 768)]
        matrices = [tensor for tensor in tensors if len(tensor.shape) > 1 and "gate_inp" not in tensor.name]
        scales = [Tensor(tensor.name.replace("weight", "scale"), tensor.shape[2:] or (1,)) for tensor in matrices]
        return [*norms(i, size.n_embd, "attn_norm", "ffn_norm"), *tensors, *scales]

    return decoder(size, block, **_routed(32, 4, 768))


def deepseek2_unfolded() -> Gguf:
    """DeepSeek-V2 as it was converted at first: keys and values are unfolded before they are cached."""
    size, rank, rope, value, query = Size("deepseek2", 4, 2048, 16, 16, 8192, 192, 102400), 512, 64, 128, 1024

    def block(i: int) -> Tensors:
        attending = [
            *norms(i, size.n_embd, "attn_norm", "ffn_norm"),
            *norms(i, rank, "attn_kv_a_norm"),
            *norms(i, query, "attn_q_a_norm"),
            size.matrix(f"blk.{i}.attn_q_a.weight", size.n_embd, query),
            size.matrix(f"blk.{i}.attn_q_b.weight", query, size.q),
            size.matrix(f"blk.{i}.attn_kv_a_mqa.weight", size.n_embd, rank + rope),
            size.matrix(f"blk.{i}.attn_kv_b.weight", rank, size.n_head * (size.head_dim - rope + value)),
            size.matrix(f"blk.{i}.attn_output.weight", size.n_head * value, size.n_embd),
        ]
        return attending + (feed_forward(i, size) if i == 0 else [*experts(i, size, 16, 512), *_shared(i, size)])

    return decoder(
        size,
        block,
        **_routed(16, 4, 512),
        expert_shared_count=1,
        leading_dense_block_count=1,
        attention__value_length=value,
        attention__kv_lora_rank=rank,
        attention__q_lora_rank=query,
        rope__dimension_count=rope,
    )


def gemma4_small(n_layer: int = 5) -> Gguf:
    """Gemma 4 E2B: every layer has an embedding of its own for each token."""
    size, length = Size("gemma4", n_layer, 1024, 4, 1, 4096, 256, 65536), 256
    slides = [i % 3 != 2 for i in range(n_layer)]

    def block(i: int) -> Tensors:
        names = ("attn_norm", "post_attention_norm", "ffn_norm", "post_ffw_norm", "post_norm")
        return [
            *norms(i, size.n_embd, *names),
            *attention(i, size, head_norm=True),
            *feed_forward(i, size),
            size.matrix(f"blk.{i}.inp_gate.weight", size.n_embd, length),
            size.matrix(f"blk.{i}.proj.weight", length, size.n_embd),
            Tensor(f"blk.{i}.layer_output_scale.weight", (1,)),
        ]

    model = decoder(
        size,
        block,
        tied=True,
        attention__sliding_window=512,
        attention__sliding_window_pattern=slides,
        attention__key_length_swa=256,
        attention__value_length_swa=256,
        embedding_length_per_layer_input=length,
    )
    extra = (
        Tensor("rope_freqs.weight", (128,)),
        size.matrix("per_layer_token_embd.weight", length * n_layer, 65536),
        size.matrix("per_layer_model_proj.weight", size.n_embd, length * n_layer),
        Tensor("per_layer_proj_norm.weight", (length,)),
    )
    return Gguf(model.metadata, (*model.tensors, *extra))


def own_orders() -> Iterable[tuple[str, Gguf]]:
    """One model of each."""
    yield "gptneox", gptneox()
    yield "gptneox, one part after the other", gptneox(parallel=False)
    yield "phi2", phi2()
    yield "falcon", falcon()
    yield "stablelm", stablelm()
    yield "bloom", bloom()
    yield "olmo", olmo()
    yield "afmoe", afmoe()
    yield "step35", step35()
    yield "mimo2", mimo2()
    yield "smallthinker", smallthinker()
    yield "cohere2moe", cohere2moe()
    yield "openelm", openelm()
    yield "plamo3", plamo3()
    yield "gemma4, experts", gemma4_moe()
    yield "deepseek2, unfolded", deepseek2_unfolded()
    yield "scaled", scaled()


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


def _routed(count: int, used: int, n_ff: int) -> dict[str, Any]:
    keys = {"expert_count": count, "expert_used_count": used, "expert_feed_forward_length": n_ff}
    return keys | {"expert_gating_func": 2, "expert_weights_norm": True}


def _shared(i: int, size: Size) -> Tensors:
    return feed_forward(i, size, 512, "_shexp")
