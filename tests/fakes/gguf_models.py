"""Models of many architectures, as GGUF files without data: enough for a header, and for the engine's accounting."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fakes.gguf_writer import Gguf, Tensor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

Tensors = list[Tensor]


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
    size = Size(
        architecture, n_layer, n_embd, n_head, n_head_kv, n_ff, head_dim or n_embd // n_head, n_vocab, n_ctx, quant
    )

    def block(i: int) -> Tensors:
        return [
            *norms(i, n_embd, "attn_norm", "ffn_norm"),
            *attention(i, size, bias=attention_bias, head_norm=head_norm),
            *feed_forward(i, size),
        ]

    return decoder(size, block, tied=tied, **extra)


@dataclass(frozen=True)
class Size:
    """The numbers that every decoder has."""

    architecture: str
    n_layer: int
    n_embd: int
    n_head: int
    n_head_kv: int
    n_ff: int
    head_dim: int
    n_vocab: int
    n_ctx: int = 32768
    quant: str = "q4_k"

    @property
    def q(self) -> int:
        return self.n_head * self.head_dim

    @property
    def kv(self) -> int:
        return self.n_head_kv * self.head_dim

    def matrix(self, name: str, *shape: int) -> Tensor:
        """A weight in the model's quantisation, or in Q8_0 where its rows are too short for that."""
        return Tensor(name, shape, self.quant if shape[0] % 256 == 0 else "q8_0")


def decoder(
    size: Size, block: Callable[[int], Tensors], *, tied: bool = False, output_norm: str = "output_norm", **extra: Any
) -> Gguf:
    """A model of these blocks. Keys of `extra` go below the architecture; `__` stands for a dot."""
    name = size.architecture
    tensors = [
        size.matrix("token_embd.weight", size.n_embd, size.n_vocab),
        Tensor(f"{output_norm}.weight", (size.n_embd,)),
    ]
    if not tied:
        tensors.append(size.matrix("output.weight", size.n_embd, size.n_vocab))
    tensors += [tensor for i in range(size.n_layer) for tensor in block(i)]
    keys = {
        "block_count": size.n_layer,
        "embedding_length": size.n_embd,
        "context_length": size.n_ctx,
        "vocab_size": size.n_vocab,
        "feed_forward_length": size.n_ff,
        "attention.head_count": size.n_head,
        "attention.head_count_kv": size.n_head_kv,
        "attention.key_length": size.head_dim,
        "attention.value_length": size.head_dim,
        "attention.layer_norm_rms_epsilon": 1e-5,
        "attention.layer_norm_epsilon": 1e-5,
        "rope.dimension_count": size.head_dim,
    } | {key.replace("__", "."): value for key, value in extra.items()}
    metadata = {"general.architecture": name} | {f"{name}.{key}": value for key, value in keys.items()}
    return Gguf(metadata | {"tokenizer.ggml.model": "no_vocab"}, tuple(tensors))


def norms(i: int, length: int, *names: str) -> Tensors:
    return [Tensor(f"blk.{i}.{name}.weight", (length,)) for name in names]


def biases(i: int, lengths: dict[str, int]) -> Tensors:
    return [Tensor(f"blk.{i}.{name}.bias", (length,)) for name, length in lengths.items()]


def attention(i: int, size: Size, *, bias: bool = False, head_norm: bool = False) -> Tensors:
    """Separate Q, K, V and the projection of their result."""
    tensors = [
        size.matrix(f"blk.{i}.attn_q.weight", size.n_embd, size.q),
        size.matrix(f"blk.{i}.attn_k.weight", size.n_embd, size.kv),
        size.matrix(f"blk.{i}.attn_v.weight", size.n_embd, size.kv),
        size.matrix(f"blk.{i}.attn_output.weight", size.q, size.n_embd),
    ]
    if bias:
        tensors += biases(i, {"attn_q": size.q, "attn_k": size.kv, "attn_v": size.kv})
    if head_norm:
        tensors += norms(i, size.head_dim, "attn_q_norm", "attn_k_norm")
    return tensors


def feed_forward(i: int, size: Size, n_ff: int = 0, suffix: str = "", *, gate: bool = True) -> Tensors:
    """Up and down, and usually a gate."""
    n_ff = n_ff or size.n_ff
    tensors = [
        size.matrix(f"blk.{i}.ffn_down{suffix}.weight", n_ff, size.n_embd),
        size.matrix(f"blk.{i}.ffn_up{suffix}.weight", size.n_embd, n_ff),
    ]
    return [*tensors, size.matrix(f"blk.{i}.ffn_gate{suffix}.weight", size.n_embd, n_ff)] if gate else tensors


def experts(i: int, size: Size, count: int, n_ff: int) -> Tensors:
    """The router and `count` feed-forward networks."""
    return [
        Tensor(f"blk.{i}.ffn_gate_inp.weight", (size.n_embd, count)),
        size.matrix(f"blk.{i}.ffn_gate_exps.weight", size.n_embd, n_ff, count),
        size.matrix(f"blk.{i}.ffn_down_exps.weight", n_ff, size.n_embd, count),
        size.matrix(f"blk.{i}.ffn_up_exps.weight", size.n_embd, n_ff, count),
    ]


def gemma(architecture: str, size: Size, **extra: Any) -> Gguf:
    """Gemma 2, Gemma 3 and EmbeddingGemma: norms before and after, most layers with a sliding window."""

    def block(i: int) -> Tensors:
        return [
            *norms(i, size.n_embd, "attn_norm", "ffn_norm", "post_attention_norm", "post_ffw_norm"),
            *attention(i, size, head_norm=architecture != "gemma2"),
            *feed_forward(i, size),
        ]

    return decoder(size, block, tied=True, **extra)


def gemma4(n_layer: int = 30) -> Gguf:
    """Wide heads in the layers that see everything, and none of their own cache in the last ones."""
    size = Size("gemma4", n_layer, 2560, 8, 2, 10240, 512, 262144)
    narrow = Size("gemma4", n_layer, 2560, 8, 2, 10240, 256, 262144)
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
        attention__key_length_swa=256,
        attention__value_length_swa=256,
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


def bert(architecture: str = "bert", n_embd: int = 384, n_head: int = 12, n_ff: int = 1536) -> Gguf:
    """An encoder. Nomic's has a gate, and no table of positions."""
    size = Size(architecture, 12, n_embd, n_head, n_head, n_ff, n_embd // n_head, 30522, 512, "f16")
    gate = architecture == "nomic-bert"

    def block(i: int) -> Tensors:
        tensors = [
            *norms(i, n_embd, "attn_output_norm", "layer_output_norm"),
            *biases(i, {"attn_output_norm": n_embd, "layer_output_norm": n_embd}),
            *attention(i, size, bias=not gate),
            *feed_forward(i, size, gate=gate),
        ]
        return tensors if gate else tensors + biases(i, {"attn_output": n_embd, "ffn_up": n_ff, "ffn_down": n_embd})

    model = decoder(size, block, tied=True, pooling_type=1, attention__causal=False)
    tensors = [tensor for tensor in model.tensors if tensor.name != "output_norm.weight"]
    tensors += [Tensor(f"token_embd_norm.{part}", (n_embd,)) for part in ("weight", "bias")]
    tensors.append(Tensor("token_types.weight", (n_embd, 2)))
    if not gate:
        tensors.append(Tensor("position_embd.weight", (n_embd, 512)))
    return Gguf({**model.metadata, "tokenizer.ggml.token_type_count": 2}, tuple(tensors))


@dataclass(frozen=True)
class State:
    """The numbers of a recurrent layer."""

    inner: int
    size: int
    heads: int
    groups: int = 1
    conv: int = 4

    @property
    def channels(self) -> int:
        return self.inner + 2 * self.groups * self.size

    @property
    def keys(self) -> dict[str, int]:
        return {
            "ssm__conv_kernel": self.conv,
            "ssm__inner_size": self.inner,
            "ssm__state_size": self.size,
            "ssm__time_step_rank": self.heads,
            "ssm__group_count": self.groups,
        }


def mamba2_layer(i: int, size: Size, state: State) -> Tensors:
    return [
        size.matrix(f"blk.{i}.ssm_in.weight", size.n_embd, state.inner + state.channels + state.heads),
        Tensor(f"blk.{i}.ssm_conv1d.weight", (state.conv, state.channels)),
        *biases(i, {"ssm_conv1d": state.channels, "ssm_dt": state.heads}),
        Tensor(f"blk.{i}.ssm_a", (1, state.heads)),
        Tensor(f"blk.{i}.ssm_d", (1, state.heads)),
        Tensor(f"blk.{i}.ssm_norm.weight", (state.inner // state.groups, state.groups)),
        size.matrix(f"blk.{i}.ssm_out.weight", state.inner, size.n_embd),
    ]


def mamba() -> Gguf:
    size = Size("mamba", 24, 1024, 0, 0, 0, 0, 50280)
    inner, rank, length = 2048, 64, 16

    def block(i: int) -> Tensors:
        return [
            *norms(i, 1024, "attn_norm"),
            size.matrix(f"blk.{i}.ssm_in.weight", 1024, 2 * inner),
            Tensor(f"blk.{i}.ssm_conv1d.weight", (4, inner)),
            *biases(i, {"ssm_conv1d": inner, "ssm_dt": inner}),
            size.matrix(f"blk.{i}.ssm_x.weight", inner, rank + 2 * length),
            Tensor(f"blk.{i}.ssm_dt.weight", (rank, inner)),
            Tensor(f"blk.{i}.ssm_a", (length, inner)),
            Tensor(f"blk.{i}.ssm_d", (inner,)),
            size.matrix(f"blk.{i}.ssm_out.weight", inner, 1024),
        ]

    keys = {"ssm__conv_kernel": 4, "ssm__inner_size": inner, "ssm__state_size": length, "ssm__time_step_rank": rank}
    return decoder(size, block, tied=True, **keys)


def mamba2() -> Gguf:
    size, state = Size("mamba2", 24, 2560, 0, 0, 0, 0, 50280), State(inner=5120, size=128, heads=80)

    def block(i: int) -> Tensors:
        return [*norms(i, 2560, "attn_norm"), *mamba2_layer(i, size, state)]

    return decoder(size, block, tied=True, **state.keys)


def granite_hybrid() -> Gguf:
    """Mostly recurrent layers, a few that attend, and experts."""
    size, state = Size("granitehybrid", 20, 1536, 12, 4, 512, 128, 100352), State(inner=3072, size=128, heads=48)
    heads = [4 if i % 10 == 5 else 0 for i in range(size.n_layer)]

    def block(i: int) -> Tensors:
        return [
            *norms(i, 1536, "attn_norm", "ffn_norm"),
            *(attention(i, size) if heads[i] else mamba2_layer(i, size, state)),
            *experts(i, size, 64, 512),
            *feed_forward(i, size, 1024, "_shexp"),
        ]

    return decoder(
        size,
        block,
        tied=True,
        **state.keys,
        attention__head_count_kv=heads,
        expert_count=64,
        expert_used_count=6,
        expert_shared_feed_forward_length=1024,
    )


def falcon_h1() -> Gguf:
    """Attention and a state in every layer."""
    size, state = Size("falcon-h1", 12, 2048, 8, 2, 4096, 128, 65537), State(inner=3072, size=256, heads=48)

    def block(i: int) -> Tensors:
        return [
            *norms(i, 2048, "attn_norm"),
            Tensor(f"blk.{i}.ffn_norm", (2048,)),
            *attention(i, size),
            *mamba2_layer(i, size, state),
            *feed_forward(i, size),
        ]

    return decoder(size, block, **state.keys)


def lfm2() -> Gguf:
    """Short convolutions between the layers that attend."""
    size = Size("lfm2", 16, 2048, 32, 8, 8192, 64, 65536)
    heads = [8 if i in {2, 5, 8, 10, 12, 14} else 0 for i in range(16)]

    def block(i: int) -> Tensors:
        convolution = [
            Tensor(f"blk.{i}.shortconv.conv.weight", (3, 2048)),
            size.matrix(f"blk.{i}.shortconv.in_proj.weight", 2048, 3 * 2048),
            size.matrix(f"blk.{i}.shortconv.out_proj.weight", 2048, 2048),
        ]
        mixing = attention(i, size, head_norm=True) if heads[i] else convolution
        return [*norms(i, 2048, "attn_norm", "ffn_norm"), *mixing, *feed_forward(i, size)]

    keys = {"attention__head_count_kv": heads, "shortconv__l_cache": 3}
    return decoder(size, block, tied=True, output_norm="token_embd_norm", **keys)


def qwen3next() -> Gguf:
    """Three recurrent layers (gated delta net) to one that attends, and many small experts."""
    size = Size("qwen3next", 12, 2048, 16, 2, 5120, 256, 151936)
    state = State(inner=4096, size=128, heads=32, groups=16)

    def recurrent(i: int) -> Tensors:
        return [
            size.matrix(f"blk.{i}.attn_qkv.weight", 2048, 8192),
            size.matrix(f"blk.{i}.attn_gate.weight", 2048, 4096),
            Tensor(f"blk.{i}.ssm_conv1d.weight", (4, 8192)),
            *biases(i, {"ssm_dt": 32}),
            Tensor(f"blk.{i}.ssm_a", (32,)),
            size.matrix(f"blk.{i}.ssm_ba.weight", 2048, 64),
            *norms(i, 128, "ssm_norm"),
            size.matrix(f"blk.{i}.ssm_out.weight", 4096, 2048),
        ]

    def attending(i: int) -> Tensors:
        query = size.matrix(f"blk.{i}.attn_q.weight", 2048, 2 * size.q)  # and a gate
        return [query, *(t for t in attention(i, size, head_norm=True) if not t.name.endswith("attn_q.weight"))]

    def block(i: int) -> Tensors:
        return [
            *norms(i, 2048, "attn_norm", "post_attention_norm", "ffn_gate_inp_shexp"),
            *(attending(i) if i % 4 == 3 else recurrent(i)),
            *experts(i, size, 512, 512),
            *feed_forward(i, size, 512, "_shexp"),
        ]

    return decoder(
        size,
        block,
        **state.keys,
        expert_count=512,
        expert_used_count=10,
        expert_feed_forward_length=512,
        expert_shared_feed_forward_length=512,
        rope__dimension_count=64,
    )


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
    yield "gemma4", gemma4()
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
    yield "deepseek2", deepseek2()
    yield "mamba", mamba()
    yield "mamba2", mamba2()
    yield "granitehybrid", granite_hybrid()
    yield "falcon-h1", falcon_h1()
    yield "lfm2", lfm2()
    yield "qwen3next", qwen3next()
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
