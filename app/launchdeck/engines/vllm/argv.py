"""vLLM's command line. It states what its defaults decide differently from version to version and from card to card."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from launchdeck.domain.plan import EngineInfo
from launchdeck.domain.units import GIB
from launchdeck.engines.llama.argv import refuse_option

KEY_VARIABLE = "VLLM_API_KEY"
# Variables change what vLLM does in many ways (attention, workers, addresses): what runs is what the plan shows.
OPTION_VARIABLES = ("VLLM_*",)
CACHE_SPACE_VARIABLE = "VLLM_CPU_KVCACHE_SPACE"
# Nothing is told to anybody about what is run here.
QUIET_ENV = ("VLLM_NO_USAGE_STATS", "1")
DEFAULT_BATCH = 2048


@dataclass(frozen=True, slots=True, kw_only=True)
class VllmLaunch:
    """All that vLLM is told. `utilization` is None on the CPU and where nobody knows a GPU's memory.

    `pooling` serves vectors or scores instead of text; `convert` makes an embedder of a language model.
    `offload_bytes` is what each GPU leaves in RAM.
    """

    model_path: Path
    alias: str
    host: str
    port: int
    n_ctx: int
    n_parallel: int
    n_batch: int
    dtype: str
    tensor_parallel: int = 1
    pipeline_parallel: int = 1
    utilization: float | None = None
    offload_bytes: int = 0
    pooling: bool = False
    convert: bool = False


def vllm_argv(engine: EngineInfo, launch: VllmLaunch) -> tuple[str, ...]:
    """The command.

    Raises:
        LaunchdeckError: a value begins with "-", and vLLM would take it for an option.
    """
    options = [
        ("--host", launch.host),
        ("--port", str(launch.port)),
        ("--served-model-name", launch.alias),
        ("--tensor-parallel-size", str(launch.tensor_parallel)),
        ("--pipeline-parallel-size", str(launch.pipeline_parallel)),
        *_memory_options(launch),
        ("--max-model-len", str(launch.n_ctx)),
        ("--max-num-seqs", str(launch.n_parallel)),
        ("--max-num-batched-tokens", str(launch.n_batch)),
        ("--dtype", launch.dtype),
        ("--runner", "pooling" if launch.pooling else "generate"),
        *_optional(launch),
        ("--disable-uvicorn-access-log",),  # a line for every health check would bury the others
    ]
    refuse_option("MODEL", str(launch.model_path))
    for name, *values in options:
        for value in values:
            refuse_option(name, value)
    return (*engine.command, "serve", str(launch.model_path), *(word for option in options for word in option))


def _memory_options(launch: VllmLaunch) -> list[tuple[str, ...]]:
    options: list[tuple[str, ...]] = []
    if launch.utilization is not None:
        options.append(("--gpu-memory-utilization", f"{launch.utilization:.3f}"))
    if launch.offload_bytes:
        options.append(("--cpu-offload-gb", f"{launch.offload_bytes / GIB:.3f}"))
    return options


def _optional(launch: VllmLaunch) -> list[tuple[str, ...]]:
    options: list[tuple[str, ...]] = []
    if launch.convert:
        options.append(("--convert", "embed"))
    if launch.tensor_parallel * launch.pipeline_parallel > 1:
        options.append(("--distributed-executor-backend", "mp"))
    return options
