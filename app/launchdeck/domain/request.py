"""What a person or a program asks for. Every door (window, HTTP, command line, tray) fills in this one form."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Annotated

from launchdeck.domain.gpu import GpuUuid, PlannedGpu
from launchdeck.domain.limits import Between, Count, Length
from launchdeck.domain.model import ServerType

ALL_LAYERS = -1
DEFAULT_SLOT_COUNT = 4
CPU_ONLY: tuple[str, ...] = ()
MOST_GPUS = 128
Layers = Annotated[int, Between(ALL_LAYERS, (1 << 31) - 1)]
Share = Annotated[float, Between(0, 1e9)]
EVEN_SPLIT: tuple[float, ...] = ()


class BackendChoice(StrEnum):
    AUTO = "auto"
    LLAMA = "llama"
    VLLM = "vllm"


class FlashAttention(StrEnum):
    """`auto`: wherever the engine can."""

    AUTO = "auto"
    ON = "on"
    OFF = "off"


@dataclass(frozen=True, slots=True)
class ModelLoadRequest:
    """`gpu_uuids`: GPUs by what identifies them, in the wanted order; empty means the CPU; None lets us choose.
    `known_gpus`: what was known of these when they were chosen, so that one that is not there can be named. Nothing is
    chosen by it, and requests that differ in it alone are equal.
    `rpc_workers`: llama.cpp RPC workers ("host:port") used as devices after (or instead of) local GPUs.
    `n_gpu_layers`: that many layers; ALL_LAYERS all; 0 the CPU; None the largest number that fits ("auto").
    `n_ctx`: tokens in all, shared by the slots; None the model's own, at most 8192.
    `engine_id`: one certain engine (EngineInfo.id) instead of the one that would be chosen.
    `split`: each device's share; EVEN_SPLIT equal ones; None by free memory.
    `n_threads`, `n_batch`, `n_ubatch`: None leaves them to the engine (an embedding's batch is as long as its context).
    `n_cpu_moe`: the experts of that many blocks, the first ones, stay in RAM while the rest of the block does not.
    `cache_ram_mib`: MiB of RAM in which llama-server may keep prompts; 0 none, None as much as is well to spare.
    `extra_args`: further words of the command line, from `engines.extra_args.ALLOWED`.
    """

    model_path: Path
    server_type: ServerType = ServerType.LLM
    model_id: str | None = None
    gpu_uuids: Annotated[tuple[GpuUuid, ...], Length(0, MOST_GPUS)] | None = None
    known_gpus: Annotated[tuple[PlannedGpu, ...], Length(0, MOST_GPUS)] = field(default=(), compare=False)
    rpc_workers: tuple[str, ...] = ()
    n_gpu_layers: Layers | None = None
    n_ctx: Count | None = None
    n_parallel: Count = DEFAULT_SLOT_COUNT
    cache_type_k: str = "f16"
    cache_type_v: str = "f16"
    backend: BackendChoice = BackendChoice.AUTO
    engine_id: str | None = None
    flash_attention: FlashAttention = FlashAttention.AUTO
    split: tuple[Share, ...] | None = None
    n_threads: Count | None = None
    n_batch: Count | None = None
    n_ubatch: Count | None = None
    n_cpu_moe: Count = 0
    extra_args: tuple[str, ...] = ()
    cache_ram_mib: Count | None = None

    @property
    def named_gpus(self) -> tuple[PlannedGpu, ...]:
        """Those of `gpu_uuids`, with what is known of them."""
        known = {gpu.uuid: gpu for gpu in self.known_gpus}
        return tuple(known.get(uuid, PlannedGpu(0, uuid, "")) for uuid in self.gpu_uuids or ())
