"""llama-server's command line. It states whatever the server's defaults decide differently from build to build."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from launchdeck.domain.errors import Cause, LaunchdeckError
from launchdeck.domain.model import RANK_POOLING
from launchdeck.domain.plan import EngineInfo
from launchdeck.domain.request import FlashAttention
from launchdeck.domain.text import Message
from launchdeck.engines.llama import extra_args

KEY_VARIABLE = "LLAMA_API_KEY"
# A server that believes it has a router above it tells how far loading has come, on standard output, and ends when its
# standard input does. The number is the router's port, which it does not use for that.
PROGRESS_ENV = ("LLAMA_SERVER_ROUTER_PORT", "1")
# Its mere presence, even as "0", lets what does not fit on a GPU spill into RAM without a word.
UNIFIED_MEMORY = "GGML_CUDA_ENABLE_UNIFIED_MEMORY"
# The environment sets any option that the command line leaves out, so none is inherited.
OPTION_VARIABLES = ("LLAMA_ARG_*", "LLAMA_LOG_*", KEY_VARIABLE, UNIFIED_MEMORY)
CACHE_TYPES = ("f32", "f16", "bf16", "q8_0", "q4_0", "q4_1", "iq4_nl", "q5_0", "q5_1")
PLAIN_CACHE_TYPES = ("f32", "f16", "bf16")
FLASH_ATTENTION = "--flash-attn"
UNIFIED = "--kv-unified"
CACHE_RAM = "--cache-ram"
CONTEXT_STEP = 256
DEFAULT_BATCH = 2048
DEFAULT_UBATCH = 512
# The lines that tell what was really applied appear at this verbosity, and not at the default of 3.
VERBOSITY = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class LlamaLaunch:
    """All that llama-server is told. `devices` are its own names, empty for the CPU; `split` is each one's share.

    `pooling` is one of llama.cpp's words (RANK_POOLING serves a reranker), None leaves it to the model. `n_gpu_layers`
    is the number itself, never "auto". `cache_ram_mib` is None where the engine keeps no prompts.
    """

    model_path: Path
    alias: str
    host: str
    port: int
    n_ctx: int
    n_parallel: int
    n_gpu_layers: int
    cache_type_k: str = "f16"
    cache_type_v: str = "f16"
    embedding: bool = False
    pooling: str | None = None
    devices: tuple[str, ...] = ()
    split: tuple[float, ...] = ()
    rpc_workers: tuple[str, ...] = ()
    flash_attention: FlashAttention = FlashAttention.AUTO
    n_threads: int | None = None
    n_batch: int = DEFAULT_BATCH
    n_ubatch: int = DEFAULT_UBATCH
    n_cpu_moe: int = 0
    cache_ram_mib: int | None = None
    extra_args: tuple[str, ...] = ()


def llama_argv(engine: EngineInfo, launch: LlamaLaunch) -> tuple[str, ...]:
    """The command. What only states a default is left out where this engine's --help does not know it.

    Raises:
        LaunchdeckError: a value begins with "-", and llama-server would take it for an option; or something was asked
            for that this engine has no option for.
    """
    stated = [
        ("--model", str(launch.model_path)),
        ("--alias", launch.alias),
        ("--host", launch.host),
        ("--port", str(launch.port)),
        ("--ctx-size", str(launch.n_ctx)),
        ("--parallel", str(launch.n_parallel)),
        (UNIFIED,),
        ("--fit", "off"),
        ("--n-gpu-layers", str(launch.n_gpu_layers)),
        *_device_options(launch),
        *_embedding_options(launch),
        *_cache_options(launch),
        ("--metrics",),
        ("--log-verbosity", str(VERBOSITY)),
    ]
    extra = [option for option in extra_args.options(launch.extra_args) if option[0] != CACHE_RAM]  # it is stated
    asked = [*_asked_options(engine, launch), *extra]
    for name, *_ in (*asked, *(_cache_options(launch) if launch.cache_ram_mib else ())):
        if not _knows(engine, name):
            raise _unknown_option(engine, name)
    options = [*(option for option in stated if _knows(engine, option[0])), *asked]
    for name, *values in options:
        for value in values:
            refuse_option(name, value)
    return (*engine.command, *(word for option in options for word in option))


def divides_context(engine: EngineInfo) -> bool:
    """Whether each slot of this engine has its own part of the context: older builds cannot share it."""
    return not _knows(engine, UNIFIED)


def _knows(engine: EngineInfo, name: str) -> bool:
    return not engine.flags or name in engine.flags


def _device_options(launch: LlamaLaunch) -> list[tuple[str, ...]]:
    # `--n-gpu-layers 0` alone would still put a compute buffer and a context on the card.
    if not launch.devices or not launch.n_gpu_layers:
        return [("--device", "none")]
    options: list[tuple[str, ...]] = []
    if launch.rpc_workers:
        options.append(("--rpc", ",".join(launch.rpc_workers)))
    options.append(("--device", ",".join(launch.devices)))
    if len(launch.devices) > 1:
        options.append(("--tensor-split", ",".join(f"{share:.6g}" for share in launch.split)))
    return options


def _asked_options(engine: EngineInfo, launch: LlamaLaunch) -> list[tuple[str, ...]]:
    """What the request wants otherwise than usual. Flash attention was a switch once, which is off unless given."""
    is_switch = FLASH_ATTENTION in engine.switches
    options = (
        ("--cache-type-k", launch.cache_type_k, "f16"),
        ("--cache-type-v", launch.cache_type_v, "f16"),
        (FLASH_ATTENTION, launch.flash_attention, launch.flash_attention if is_switch else FlashAttention.AUTO),
        ("--batch-size", launch.n_batch, DEFAULT_BATCH),
        ("--ubatch-size", launch.n_ubatch, DEFAULT_UBATCH),
        ("--threads", launch.n_threads, None),
        ("--n-cpu-moe", launch.n_cpu_moe if launch.devices and launch.n_gpu_layers else 0, 0),
    )
    switched = [(FLASH_ATTENTION,)] if is_switch and launch.flash_attention is FlashAttention.ON else []
    return [*switched, *((name, str(value)) for name, value, usual in options if value != usual)]


def _embedding_options(launch: LlamaLaunch) -> list[tuple[str, ...]]:
    if not launch.embedding:
        return []
    if launch.pooling == RANK_POOLING:
        return [("--rerank",)]
    options: list[tuple[str, ...]] = [("--embeddings",)]
    if launch.pooling:
        options.append(("--pooling", launch.pooling))
    return options


def _cache_options(launch: LlamaLaunch) -> list[tuple[str, ...]]:
    return [] if launch.cache_ram_mib is None else [(CACHE_RAM, str(launch.cache_ram_mib))]


def _unknown_option(engine: EngineInfo, name: str) -> LaunchdeckError:
    return LaunchdeckError.of(
        Cause.ENGINE_UNSUITED,
        Message("The engine {engine} has no option {name}.", engine=str(engine.kind), name=name),
        Message("Leave that setting as it usually is, or choose another engine."),
    )


def refuse_option(name: str, value: str) -> None:
    """Refuse a value that would read as an option.

    Raises:
        LaunchdeckError: it begins with "-".
    """
    if value.startswith("-"):
        raise LaunchdeckError.of(
            Cause.BAD_REQUEST,
            Message(
                "{name} cannot be {value}: a value that begins with '-' reads as an option.", name=name, value=value
            ),
            Message("Rename it, or give its whole path."),
        )
