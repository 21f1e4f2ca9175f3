"""What every engine's plan is made from, and the parts of it that are the same for all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from launchdeck.domain.gpu import GpuReading, Inventory
from launchdeck.domain.model import ModelInfo
from launchdeck.domain.plan import EngineInfo
from launchdeck.domain.request import ALL_LAYERS, ModelLoadRequest
from launchdeck.domain.text import Message
from launchdeck.engines.devices.device_orders import DeviceOrders
from launchdeck.engines.llama.rope_scaling import slot_limit, slot_tokens
from launchdeck.engines.residuals import Residuals
from launchdeck.settings.schema import Settings

HOST = "127.0.0.1"
DEFAULT_CONTEXT_LIMIT = 8192


@dataclass(frozen=True, slots=True)
class Ceiling:
    """What the engine's own account leaves of "auto": at most so many layers (None: as many as fit), where each device
    needs `more_bytes` than the closed form says (empty: no more).
    """

    most_layers: int | None = None
    more_bytes: tuple[int, ...] = ()


class ModelMemory(Protocol):
    """What an engine has made of a model's header to estimate with. Only that engine looks into it."""

    @property
    def layer_count(self) -> int: ...


@dataclass(frozen=True, slots=True)
class PlanningContext:
    """What a plan is made from besides the request. `memory` is made of the model's header.

    `inherited` are the names of the variables in Launchdeck's own environment. `shared_bytes` is what other launches
    have in RAM of the model's file, as in `Promises`.
    """

    inventory: Inventory
    engines: tuple[EngineInfo, ...]
    settings: Settings
    model: ModelInfo
    memory: ModelMemory | None
    residuals: Residuals = field(default_factory=Residuals)
    inherited: frozenset[str] = frozenset()
    orders: DeviceOrders = field(default_factory=DeviceOrders)
    ceiling: Ceiling = field(default_factory=Ceiling)
    shared_bytes: int = 0


def resolve_context(request: ModelLoadRequest, model: ModelInfo) -> int:
    """The context in tokens: the one asked for, or the model's own as far as that is usual."""
    return request.n_ctx or min(DEFAULT_CONTEXT_LIMIT, model.context_length or DEFAULT_CONTEXT_LIMIT)


def most_context(request: ModelLoadRequest, model: ModelInfo, *, is_shared: bool) -> int | None:
    """The largest context in tokens that this model can be asked for; None where it tells no limit.

    `is_shared`: the slots share it, and none of them holds more than the model can; else it is each request's own.
    """
    limit = slot_limit(request, model)
    return None if limit is None else limit * (request.n_parallel if is_shared else 1)


def longest_request(n_ctx: int, request: ModelLoadRequest, model: ModelInfo, engine: EngineInfo) -> int:
    """Tokens that one request can be: all of the context, but no more than the model can with this engine."""
    return min(n_ctx, slot_tokens(request, model, engine) or n_ctx)


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
