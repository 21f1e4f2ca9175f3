"""The adapter of every engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from launchdeck.domain.plan import EngineKind
from launchdeck.engines.llama.adapter import LlamaServerAdapter
from launchdeck.engines.vllm.adapter import VLLMAdapter

if TYPE_CHECKING:
    from launchdeck.engines.adapter import EngineAdapter


def adapters() -> dict[EngineKind, EngineAdapter]:
    """By the kind of engine that they read."""
    llama: dict[EngineKind, EngineAdapter] = {
        kind: LlamaServerAdapter(kind) for kind in (EngineKind.LLAMA_SERVER, EngineKind.EMBEDDED)
    }
    return {**llama, EngineKind.VLLM: VLLMAdapter()}
