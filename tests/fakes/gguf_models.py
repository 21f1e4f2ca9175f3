"""Models as GGUF files without data: enough for a header, and for the engine's accounting."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fakes.gguf_writer import Gguf, Tensor

if TYPE_CHECKING:
    from collections.abc import Callable

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
