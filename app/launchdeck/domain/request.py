"""What a person or a program asks for. Every door (window, HTTP, command line, tray) fills in this one form."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from launchdeck.domain.model import ServerType

ALL_LAYERS = -1
DEFAULT_SLOT_COUNT = 4
CPU_ONLY: tuple[int, ...] = ()


class BackendChoice(StrEnum):
    AUTO = "auto"
    LLAMA = "llama"
    VLLM = "vllm"


@dataclass(frozen=True, slots=True)
class ModelLoadRequest:
    """`gpu_indices`: places in our GPU list, in the wanted order; empty means the CPU; None lets us choose.
    `rpc_workers`: llama.cpp RPC workers ("host:port") used as devices after (or instead of) local GPUs.
    `n_gpu_layers`: that many layers; ALL_LAYERS all; 0 the CPU; None the largest number that fits ("auto").
    `n_ctx`: tokens in all, shared by the slots; None the model's own, at most 8192.
    `engine_id`: one certain engine (EngineInfo.id) instead of the one that would be chosen.
    """

    model_path: Path
    server_type: ServerType = ServerType.LLM
    model_id: str | None = None
    gpu_indices: tuple[int, ...] | None = None
    rpc_workers: tuple[str, ...] = ()
    n_gpu_layers: int | None = None
    n_ctx: int | None = None
    n_parallel: int = DEFAULT_SLOT_COUNT
    cache_type_k: str = "f16"
    cache_type_v: str = "f16"
    backend: BackendChoice = BackendChoice.AUTO
    engine_id: str | None = None
