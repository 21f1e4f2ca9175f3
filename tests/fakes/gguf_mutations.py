"""Headers that no converter writes: parts missing or of another shape, keys of other types and sizes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from fakes.gguf_writer import Gguf, Tensor

if TYPE_CHECKING:
    from collections.abc import Iterable
    from random import Random

_VALUES: tuple[Any, ...] = (
    0, 1, -1, 2, 7, 255, 1 << 31, (1 << 32) - 1, 1 << 40, (1 << 63) - 1, True, False, 0.0, 1.5, float("nan"),
    float("inf"), "text", [], [0], [1, 2, 3], [-1] * 5, [1.5, float("nan")], ["a"], [True] * 3, [1 << 20] * 600,
)  # fmt: skip
_SHAPES = ((256,), (256, 256), (256, 1, 1, 1), (1,))
_NAMES = (
    "blk.0.ffn_down.weight", "blk.99999999999999999999.x.weight", "blk.0.ssm_conv1d.weight", "blk.1.ssm_in.weight",
    "blk.0.shortconv.conv.weight", "token_embd.weight", "output.weight", "blk.-1.attn_q.weight", "blk.²·.a.weight",
    "blk.0", "blk..", "rope_freqs.weight", "blk.0.attn_kv_a_mqa.weight", "per_layer_token_embd.weight",
    "blk.0.attn_qkv.weight", "enc.blk.0.attn_q.weight", "token_types.weight", "blk.300.nextn.eh_proj.weight",
)  # fmt: skip


def mutated(model: Gguf, random: Random) -> Gguf:
    """The model with one to five changes."""
    metadata, tensors = dict(model.metadata), list(model.tensors)
    for _ in range(random.choice((1, 1, 1, 2, 3, 5))):
        if random.random() < 0.4:
            _change_key(metadata, random)
        elif tensors:
            tensors = list(_changed(tensors, random))
    unique = {tensor.name: tensor for tensor in tensors}
    return replace(model, metadata=metadata, tensors=tuple(unique.values()))


def _change_key(metadata: dict[str, Any], random: Random) -> None:
    key = random.choice(sorted(metadata))
    if random.random() < 0.3:
        del metadata[key]
    else:
        metadata[key] = random.choice(_VALUES)


def _changed(tensors: list[Tensor], random: Random) -> Iterable[Tensor]:
    """Without one tensor, or with it in another shape or by another name; or so for this part of all layers."""
    chosen = random.choice(tensors)
    part = chosen.name.split(".")[-2:]
    is_meant = {id(t) for t in tensors if t is chosen or (random.random() < 0.5 and t.name.split(".")[-2:] == part)}
    change = random.choice(("drop", "reshape", "rename"))
    shape = random.choice((*_SHAPES, chosen.shape[:1], chosen.shape[::-1], (*chosen.shape, 2)[:4]))
    for tensor in tensors:
        if id(tensor) not in is_meant:
            yield tensor
        elif change == "reshape":
            yield Tensor(tensor.name, shape)
        elif change == "rename":
            yield replace(tensor, name=random.choice(_NAMES))
