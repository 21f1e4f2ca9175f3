"""Models with recurrent layers, as GGUF files without data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fakes.gguf_models import Size, Tensors, attention, biases, decoder, experts, feed_forward, norms
from fakes.gguf_writer import Gguf, Tensor


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


def _mamba_layer(i: int, size: Size, rank: int) -> Tensors:
    inner, length = 2 * size.n_embd, 16
    return [
        size.matrix(f"blk.{i}.ssm_in.weight", size.n_embd, 2 * inner),
        Tensor(f"blk.{i}.ssm_conv1d.weight", (4, inner)),
        *biases(i, {"ssm_conv1d": inner, "ssm_dt": inner}),
        size.matrix(f"blk.{i}.ssm_x.weight", inner, rank + 2 * length),
        Tensor(f"blk.{i}.ssm_dt.weight", (rank, inner)),
        Tensor(f"blk.{i}.ssm_a", (length, inner)),
        Tensor(f"blk.{i}.ssm_d", (inner,)),
        size.matrix(f"blk.{i}.ssm_out.weight", inner, size.n_embd),
    ]


def _mamba_keys(n_embd: int, rank: int) -> dict[str, int]:
    keys = {"conv_kernel": 4, "inner_size": 2 * n_embd, "state_size": 16, "time_step_rank": rank}
    return {f"ssm__{name}": value for name, value in keys.items()}


def mamba(
    n_layer: int = 24, n_embd: int = 1024, rank: int = 64, *, quant: str = "q4_k", tied: bool = True, **extra: Any
) -> Gguf:
    """Falcon Mamba has `ssm__dt_b_c_rms` besides."""
    size = Size("mamba", n_layer, n_embd, 0, 0, 0, 0, 50280, quant=quant)

    def block(i: int) -> Tensors:
        return [*norms(i, n_embd, "attn_norm"), *_mamba_layer(i, size, rank)]

    return decoder(size, block, tied=tied, **_mamba_keys(n_embd, rank), **extra)


def mamba2(size: Size | None = None, state: State | None = None, *, tied: bool = True) -> Gguf:
    size, state = size or Size("mamba2", 24, 2560, 0, 0, 0, 0, 50280), state or State(inner=5120, size=128, heads=80)

    def block(i: int) -> Tensors:
        return [*norms(i, size.n_embd, "attn_norm"), *mamba2_layer(i, size, state)]

    return decoder(size, block, tied=tied, **state.keys)


def granite_hybrid(
    size: Size | None = None,
    state: State | None = None,
    *,
    count: int = 64,
    used: int = 6,
    n_ff: int = 512,
    **extra: Any,
) -> Gguf:
    """Mostly recurrent layers, a few that attend, and experts, or with a `count` of 0 none."""
    size = size or Size("granitehybrid", 20, 1536, 12, 4, 512, 128, 100352)
    state = state or State(inner=3072, size=128, heads=48)
    heads = [size.n_head_kv if i % 10 == 5 else 0 for i in range(size.n_layer)]
    keys = {"expert_count": count, "expert_used_count": used, "expert_shared_feed_forward_length": 2 * n_ff}

    def block(i: int) -> Tensors:
        routed = [*experts(i, size, count, n_ff), *feed_forward(i, size, 2 * n_ff, "_shexp")]
        return [
            *norms(i, size.n_embd, "attn_norm", "ffn_norm"),
            *(attention(i, size) if heads[i] else mamba2_layer(i, size, state)),
            *(routed if count else feed_forward(i, size)),
        ]

    own = {"attention__head_count_kv": heads} | (keys if count else {})
    return decoder(size, block, tied=True, **state.keys, **own, **extra)


def jamba(n_layer: int = 10, n_embd: int = 2048, rank: int = 128, *, count: int = 0, quant: str = "q4_k") -> Gguf:
    """Mamba with norms before the scan, a few layers that attend, and in every second one experts, if there are any."""
    size = Size("jamba", n_layer, n_embd, n_embd // 128, 8, 4 * n_embd, 128, 65536, quant=quant)
    heads = [8 if i % 4 == 2 else 0 for i in range(n_layer)]
    keys = _mamba_keys(n_embd, rank) | ({"expert_count": count, "expert_used_count": 2} if count else {})

    def block(i: int) -> Tensors:
        scans = [
            *_mamba_layer(i, size, rank),
            *norms(i, rank, "ssm_dt_norm"),
            *norms(i, 16, "ssm_b_norm", "ssm_c_norm"),
        ]
        return [
            *norms(i, n_embd, "attn_norm", "ffn_norm"),
            *(attention(i, size) if heads[i] else scans),
            *(experts(i, size, count, size.n_ff) if count and i % 2 else feed_forward(i, size)),
        ]

    return decoder(size, block, attention__head_count_kv=heads, **keys)


def falcon_h1(size: Size | None = None, state: State | None = None) -> Gguf:
    """Attention and a state in every layer."""
    size = size or Size("falcon-h1", 12, 2048, 8, 2, 4096, 128, 65537)
    state = state or State(inner=3072, size=256, heads=48)

    def block(i: int) -> Tensors:
        return [
            *norms(i, size.n_embd, "attn_norm"),
            Tensor(f"blk.{i}.ffn_norm", (size.n_embd,)),
            *attention(i, size),
            *mamba2_layer(i, size, state),
            *feed_forward(i, size),
        ]

    return decoder(size, block, **state.keys)


def lfm2(size: Size | None = None, *, count: int = 0, n_ff: int = 1792) -> Gguf:
    """Short convolutions between the layers that attend; a `count` of experts after two dense layers."""
    size = size or Size("lfm2", 16, 2048, 32, 8, 8192, 64, 65536)
    heads = [size.n_head_kv if i in {2, 5, 8, 10, 12, 14} else 0 for i in range(size.n_layer)]

    def block(i: int) -> Tensors:
        convolution = [
            Tensor(f"blk.{i}.shortconv.conv.weight", (3, size.n_embd)),
            size.matrix(f"blk.{i}.shortconv.in_proj.weight", size.n_embd, 3 * size.n_embd),
            size.matrix(f"blk.{i}.shortconv.out_proj.weight", size.n_embd, size.n_embd),
        ]
        mixing = attention(i, size, head_norm=True) if heads[i] else convolution
        routed = [*experts(i, size, count, n_ff), *biases(i, {"exp_probs_b": count})]
        return [
            *norms(i, size.n_embd, "attn_norm", "ffn_norm"),
            *mixing,
            *(routed if count and i > 1 else feed_forward(i, size)),
        ]

    keys: dict[str, Any] = {"attention__head_count_kv": heads, "shortconv__l_cache": 3}
    if count:
        keys |= {"expert_count": count, "expert_used_count": 4, "expert_feed_forward_length": n_ff}
        keys |= {"leading_dense_block_count": 2, "expert_gating_func": 2}
    return decoder(size, block, tied=True, output_norm="token_embd_norm", **keys)


def _delta_net(i: int, size: Size, state: State, *, one_matrix: bool) -> Tensors:
    """Linear attention; how much is forgotten and learned comes from one matrix or from two."""
    rates = {"ssm_ba": 2 * state.heads} if one_matrix else {"ssm_beta": state.heads, "ssm_alpha": state.heads}
    return [
        size.matrix(f"blk.{i}.attn_qkv.weight", size.n_embd, state.channels),
        size.matrix(f"blk.{i}.attn_gate.weight", size.n_embd, state.inner),
        Tensor(f"blk.{i}.ssm_conv1d.weight", (state.conv, state.channels)),
        *biases(i, {"ssm_dt": state.heads}),
        Tensor(f"blk.{i}.ssm_a", (state.heads,)),
        *(size.matrix(f"blk.{i}.{name}.weight", size.n_embd, length) for name, length in rates.items()),
        *norms(i, state.inner // state.heads, "ssm_norm"),
        size.matrix(f"blk.{i}.ssm_out.weight", state.inner, size.n_embd),
    ]


def _gated_attention(i: int, size: Size) -> Tensors:
    query = size.matrix(f"blk.{i}.attn_q.weight", size.n_embd, 2 * size.q)  # and a gate
    return [query, *(t for t in attention(i, size, head_norm=True) if not t.name.endswith("attn_q.weight"))]


def qwen3next(
    size: Size | None = None, state: State | None = None, *, count: int = 512, n_ff: int = 512, used: int = 10
) -> Gguf:
    """Three recurrent layers (gated delta net) to one that attends, and many small experts; or the same in Qwen3.5."""
    size = size or Size("qwen3next", 12, 2048, 16, 2, 5120, 256, 151936)
    state = state or State(inner=4096, size=128, heads=32, groups=16)
    before = size.architecture == "qwen3next"

    def block(i: int) -> Tensors:
        return [
            *norms(i, size.n_embd, "attn_norm", "post_attention_norm", "ffn_gate_inp_shexp"),
            *(_gated_attention(i, size) if i % 4 == 3 else _delta_net(i, size, state, one_matrix=before)),
            *experts(i, size, count, n_ff),
            *feed_forward(i, size, n_ff, "_shexp"),
        ]

    return decoder(
        size,
        block,
        **state.keys,
        expert_count=count,
        expert_used_count=used,
        expert_feed_forward_length=n_ff,
        expert_shared_feed_forward_length=n_ff,
        rope__dimension_count=64,
        **({} if before else {"rope__dimension_sections": [11, 11, 10, 0]}),
    )


def qwen35(size: Size | None = None, state: State | None = None) -> Gguf:
    """As Qwen3-Next, with a dense feed-forward part."""
    size = size or Size("qwen35", 16, 2560, 16, 4, 9216, 256, 248320)
    state = state or State(inner=4096, size=128, heads=32, groups=16)

    def block(i: int) -> Tensors:
        mixing = _gated_attention(i, size) if i % 4 == 3 else _delta_net(i, size, state, one_matrix=False)
        return [*norms(i, size.n_embd, "attn_norm", "post_attention_norm"), *mixing, *feed_forward(i, size)]

    sections = [11, 11, 10, 0]
    return decoder(size, block, **state.keys, rope__dimension_count=64, rope__dimension_sections=sections)


def nemotron_h(
    kinds: str = "MFMFMFAFMFMFMF", size: Size | None = None, state: State | None = None, *, bias: bool = False
) -> Gguf:
    """Each layer does one thing: a state (M), attention (A), or feed-forward (F)."""
    size = size or Size("nemotron_h", len(kinds), 4480, 40, 8, 15680, 128, 131072)
    state = state or State(10240, 128, 128, groups=8)
    heads = [size.n_head_kv if kind == "A" else 0 for kind in kinds]
    n_ff = [size.n_ff if kind == "F" else 0 for kind in kinds]

    def block(i: int) -> Tensors:
        parts = {
            "M": lambda: mamba2_layer(i, size, state),
            "A": lambda: attention(i, size, bias=bias),
            "F": lambda: feed_forward(i, size, gate=False),
        }
        return [*norms(i, size.n_embd, "attn_norm"), *parts[kinds[i]]()]

    return decoder(size, block, **state.keys, attention__head_count_kv=heads, feed_forward_length=n_ff)
