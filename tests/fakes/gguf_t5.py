"""T5, whose scores depend on the distance of tokens, and CogVLM, which gives results for all tokens."""

from __future__ import annotations

from dataclasses import replace

from fakes.gguf_models import Size, Tensors, decoder, feed_forward, norms
from fakes.gguf_writer import Gguf, Tensor

_BUCKETS = 32


def t5(
    *,
    n_layer: int = 24,
    n_embd: int = 2048,
    n_head: int = 32,
    n_ff: int = 5120,
    n_ctx: int = 512,
    own_tables: bool = False,
) -> Gguf:
    """Flan-T5 XL: as many blocks that encode as such that decode, which attend to what was encoded besides."""
    size = Size("t5", n_layer, n_embd, n_head, n_head, n_ff, 64, 32128, n_ctx, "q8_0")

    def block(i: int) -> Tensors:
        cross = [replace(tensor, name=tensor.name.replace("attn_", "cross_attn_")) for tensor in _attention(i, size)]
        decoding = [*_attention(i, size), *cross, *norms(i, n_embd, "ffn_norm"), *feed_forward(i, size)]
        return [
            *_encoding(i, size),
            *(_within("dec", tensor) for tensor in decoding),
            *_table(i, size, "enc", "dec", own=own_tables),
        ]

    model = decoder(size, block, output_norm="dec.output_norm", attention__relative_buckets_count=_BUCKETS)
    return replace(model, tensors=(*model.tensors, Tensor("enc.output_norm.weight", (n_embd,))))


def t5_encoder(
    n_layer: int = 24, n_embd: int = 2048, n_head: int = 32, n_ff: int = 5120, *, own_tables: bool = False
) -> Gguf:
    """The encoding half alone, as image generators use it; with `own_tables` in every block that of uMT5."""
    size = Size("t5encoder", n_layer, n_embd, n_head, n_head, n_ff, 64, 32128, 512, "q8_0")
    return decoder(
        size,
        lambda i: [*_encoding(i, size), *_table(i, size, "enc", own=own_tables)],
        tied=True,
        output_norm="enc.output_norm",
        attention__relative_buckets_count=_BUCKETS,
    )


def cogvlm(n_layer: int = 32) -> Gguf:
    """A second set of matrices in every block works with images."""
    size = Size("cogvlm", n_layer, 4096, 32, 32, 11008, 128, 32000, 4096)

    def block(i: int) -> Tensors:
        return [
            *norms(i, 4096, "attn_norm", "ffn_norm"),
            *feed_forward(i, size),
            size.matrix(f"blk.{i}.attn_qkv.weight", 4096, 3 * 4096),
            size.matrix(f"blk.{i}.attn_output.weight", 4096, 4096),
            size.matrix(f"blk.{i}.vis_attn_qkv.weight", 4096, 3 * 4096),
            size.matrix(f"blk.{i}.vis_attn_output.weight", 4096, 4096),
            size.matrix(f"blk.{i}.vis_gate.weight", 4096, 11008),
            size.matrix(f"blk.{i}.vis_up.weight", 4096, 11008),
            size.matrix(f"blk.{i}.vis_down.weight", 11008, 4096),
        ]

    return decoder(size, block)


def _attention(i: int, size: Size) -> Tensors:
    into, out = (size.n_embd, size.q), (size.q, size.n_embd)
    shapes = {"attn_q": into, "attn_k": into, "attn_v": into, "attn_o": out}
    matrices = [size.matrix(f"blk.{i}.{name}.weight", *shape) for name, shape in shapes.items()]
    return [*norms(i, size.n_embd, "attn_norm"), *matrices]


def _encoding(i: int, size: Size) -> Tensors:
    tensors = [*_attention(i, size), *norms(i, size.n_embd, "ffn_norm"), *feed_forward(i, size)]
    return [_within("enc", tensor) for tensor in tensors]


def _table(i: int, size: Size, *halves: str, own: bool) -> Tensors:
    """The numbers by distance: the first block has them for all, or each its own."""
    tables = [Tensor(f"{half}.blk.{i}.attn_rel_b.weight", (size.n_head, _BUCKETS)) for half in halves]
    return tables if own or i == 0 else []


def _within(half: str, tensor: Tensor) -> Tensor:
    return replace(tensor, name=f"{half}.{tensor.name}")
