"""llama-server's command line. It states whatever the server's defaults decide differently from build to build."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from launchdeck.domain.errors import Cause, LaunchdeckError
from launchdeck.domain.plan import EngineInfo
from launchdeck.domain.text import Message

KEY_VARIABLE = "LLAMA_API_KEY"
# A server that believes it has a router above it tells how far loading has come, on standard output, and ends when its
# standard input does. The number is the router's port, which it does not use for that.
PROGRESS_ENV = ("LLAMA_SERVER_ROUTER_PORT", "1")
# The environment sets any option that the command line leaves out, so none is inherited.
OPTION_VARIABLES = ("LLAMA_ARG_*", "LLAMA_LOG_*", KEY_VARIABLE)
CACHE_TYPES = ("f32", "f16", "bf16", "q8_0", "q4_0", "q4_1", "iq4_nl", "q5_0", "q5_1")
CONTEXT_STEP = 256
# The lines that tell what was really applied appear at this verbosity, and not at the default of 3.
VERBOSITY = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class LlamaLaunch:
    """All that llama-server is told. `devices` are its own names, empty for the CPU; `split` is each one's share.

    `pooling` is set for a model that does not bring its own. `n_gpu_layers` is the number itself, never "auto".
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

    @property
    def n_ubatch(self) -> int:
        """Tokens computed at once. An embedding's whole input has to be, and it can be as long as the context."""
        return -(-self.n_ctx // CONTEXT_STEP) * CONTEXT_STEP if self.embedding else 512

    @property
    def n_batch(self) -> int:
        return self.n_ubatch if self.embedding else 2048


def llama_argv(engine: EngineInfo, launch: LlamaLaunch) -> tuple[str, ...]:
    """The command. An option that this engine's --help does not know is left out.

    Raises:
        LaunchdeckError: a value begins with "-", and llama-server would take it for an option.
    """
    options = [
        ("--model", str(launch.model_path)),
        ("--alias", launch.alias),
        ("--host", launch.host),
        ("--port", str(launch.port)),
        ("--ctx-size", str(launch.n_ctx)),
        ("--parallel", str(launch.n_parallel)),
        ("--kv-unified",),
        ("--fit", "off"),
        ("--n-gpu-layers", str(launch.n_gpu_layers)),
        *_device_options(launch),
        *_cache_options(launch),
        *_embedding_options(launch),
        ("--metrics",),
        ("--log-verbosity", str(VERBOSITY)),
    ]
    known = [option for option in options if not engine.flags or option[0] in engine.flags]
    for name, *values in known:
        for value in values:
            _refuse_option(name, value)
    return (*engine.command, *(word for option in known for word in option))


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


def _cache_options(launch: LlamaLaunch) -> list[tuple[str, ...]]:
    types = (("--cache-type-k", launch.cache_type_k), ("--cache-type-v", launch.cache_type_v))
    return [option for option in types if option[1] != "f16"]


def _embedding_options(launch: LlamaLaunch) -> list[tuple[str, ...]]:
    if not launch.embedding:
        return []
    options: list[tuple[str, ...]] = [("--embeddings",)]
    if launch.pooling:
        options.append(("--pooling", launch.pooling))
    return [*options, ("--batch-size", str(launch.n_batch)), ("--ubatch-size", str(launch.n_ubatch))]


def _refuse_option(name: str, value: str) -> None:
    if value.startswith("-"):
        raise LaunchdeckError.of(
            Cause.BAD_REQUEST,
            Message(
                "{name} cannot be {value}: a value that begins with '-' reads as an option.", name=name, value=value
            ),
            Message("Rename it, or give its whole path."),
        )
