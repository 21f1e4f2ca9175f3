"""A model on disk, as far as its headers tell."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from launchdeck.domain.text import Message


class ModelFormat(StrEnum):
    GGUF = "gguf"
    SAFETENSORS = "safetensors"


# The pooling of a model that gives two texts one score instead of each its own vector.
RANK_POOLING = "rank"


class ServerType(StrEnum):
    """What a model is served as."""

    LLM = "llm"
    EMBEDDING = "embedding"


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """One model. `path` is its (first) file, or its folder for safetensors; `files` are all of them, in order.

    `block_count` counts the repeated layers; a launch can place `layer_count` layers, one more: the output layer.
    `expert_count` is 0 for a model whose layers are whole, without experts to choose from.
    `pooling` is how a model that was made to embed makes one vector of many: mean, cls or last; RANK_POOLING where it
    ranks; None where it does not say.
    `projector` is the file (mmproj) that lets the model see images or hear, where one lies beside it.
    `problem` says why the model cannot be used; then the header's values may be None.
    """

    path: Path
    name: str
    format: ModelFormat
    architecture: str | None
    size_bytes: int
    block_count: int | None
    context_length: int | None
    quantisation: str | None
    server_types: tuple[ServerType, ...]
    files: tuple[Path, ...] = ()
    problem: Message | None = None
    expert_count: int = 0
    pooling: str | None = None
    projector: Path | None = None

    @property
    def layer_count(self) -> int:
        """The largest number of layers that can be placed on GPUs: all blocks and the output layer."""
        return (self.block_count or 0) + 1
