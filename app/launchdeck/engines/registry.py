"""Every family of engines there is: the only list. Another one is a folder like theirs, and an entry here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from launchdeck.domain.errors import Cause, LaunchdeckError
from launchdeck.domain.text import Message
from launchdeck.engines.llama.engine import LlamaEngine
from launchdeck.engines.vllm.engine import VllmEngine

if TYPE_CHECKING:
    from launchdeck.domain.model import ModelInfo
    from launchdeck.domain.plan import EngineKind
    from launchdeck.engines.engine import Engine

ENGINES: tuple[Engine, ...] = (LlamaEngine(), VllmEngine())
"""In the order in which they are looked for and listed."""


def adapters() -> dict[EngineKind, Engine]:
    """Give each engine by the kinds that it speaks for."""
    return {kind: engine for engine in ENGINES for kind in engine.kinds}


def engine_of(kind: EngineKind) -> Engine:
    """Give the engine of this kind. Raises ValueError: nobody knows such a kind."""
    engine = adapters().get(kind)
    if engine is None:
        raise ValueError(f"{kind!r:.100} is no kind of engine")
    return engine


def engine_for(model: ModelInfo) -> Engine:
    """Give the engine that serves models of this kind.

    Raises:
        LaunchdeckError: none does.
    """
    engine = next((engine for engine in ENGINES if engine.reads(model)), None)
    if engine is None:
        raise LaunchdeckError.of(
            Cause.ENGINE_MISSING,
            Message("No engine for this model was found ({backend}).", backend=str(model.format)),
            Message("Choose another model."),
        )
    return engine
