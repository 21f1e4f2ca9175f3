"""The part of Gemma 3n's and Gemma 4's layers that works with an embedding of the token for each layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from launchdeck.planning.llama.replay.steps import LAYER_EMBEDDINGS, kept, kept_backend_copy

if TYPE_CHECKING:
    from launchdeck.planning.llama.replay.layer import Layer
    from launchdeck.planning.llama.replay.steps import Steps

_FLOAT_BYTES = 4
_OF_ALL_LAYERS = "embeddings of all layers"


def selected_embeddings(layer: Layer, steps: Steps) -> str:
    """Scale the tokens' own embeddings for all layers."""
    return steps.add(_all_bytes(layer), LAYER_EMBEDDINGS, in_place=True)


def with_layer_embedding(layer: Layer, steps: Steps, past: str, embeddings: str, selected: str) -> str:
    """Do the part with this layer's embedding of the token; the first layer makes those of all."""
    block, row = layer.block, layer.row_bytes
    narrow = _FLOAT_BYTES * layer.rows * block.width("inp_gate")
    result = steps.add(narrow, past, inputs=block.weight("inp_gate"))
    if selected:
        size = _all_bytes(layer)
        projected = steps.add(size, embeddings, inputs=block.weight("per_layer_model_proj"))
        projected = steps.change(size, steps.add(size, projected), block.weight("per_layer_proj_norm"))
        steps.keep(size, steps.add(size, projected, selected, in_place=True), _OF_ALL_LAYERS)
    copy = block.embedding_copy
    embedding = kept_backend_copy(f"embedding{copy}", narrow) if copy else kept(_OF_ALL_LAYERS)
    result = steps.add(narrow, result, inputs=embedding, in_place=True)
    result = steps.add(row, result, inputs=block.weight("proj"))
    return steps.add(row, past, layer.normed(steps, "post_norm", result, row, in_place=True), in_place=True)


def _all_bytes(layer: Layer) -> int:
    return _FLOAT_BYTES * layer.work.tokens * layer.block.width("per_layer_model_proj")
