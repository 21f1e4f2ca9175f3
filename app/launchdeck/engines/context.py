"""What every engine's plan is made from, and the parts of it that are the same for all."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from launchdeck.domain.gpu import GpuReading, Inventory
from launchdeck.domain.model import ModelInfo
from launchdeck.domain.plan import EngineInfo
from launchdeck.domain.request import ALL_LAYERS, ModelLoadRequest
from launchdeck.domain.text import Message
from launchdeck.engines.residuals import Residuals
from launchdeck.planning.estimate import MemoryModel
from launchdeck.planning.vllm_memory import VllmMemory
from launchdeck.settings.schema import Settings

HOST = "127.0.0.1"
DEFAULT_CONTEXT_LIMIT = 8192


@dataclass(frozen=True, slots=True)
class PlanningContext:
    """What a plan is made from besides the request. `memory` is made of the model's header."""

    inventory: Inventory
    engines: tuple[EngineInfo, ...]
    settings: Settings
    model: ModelInfo
    memory: MemoryModel | VllmMemory | None
    residuals: Residuals = field(default_factory=Residuals)


def default_model_id(model: ModelInfo) -> str:
    """The model's name as a word: "Qwen3 8B" becomes "qwen3-8b"."""
    return re.sub(r"[^\w.]+", "-", model.name.lower()).strip("-.")[:100] or "model"


def resolve_context(request: ModelLoadRequest, model: ModelInfo) -> int:
    """The context in tokens: the one asked for, or the model's own as far as that is usual."""
    return request.n_ctx or min(DEFAULT_CONTEXT_LIMIT, model.context_length or DEFAULT_CONTEXT_LIMIT)


def resolve_layers(asked: int | None, largest: int | None, total: int) -> int:
    """The number of layers. Where it cannot be told what fits, "auto" is all."""
    if asked is None:
        return total if largest is None else largest
    return total if asked == ALL_LAYERS else asked


def gpu_reasons(request: ModelLoadRequest, readings: Sequence[GpuReading]) -> tuple[Message, ...]:
    """Why this GPU, where the choice was ours."""
    if request.gpu_uuids is None and readings:
        return (Message("GPU {index} has the most free memory", index=readings[0].gpu.index),)
    return ()
