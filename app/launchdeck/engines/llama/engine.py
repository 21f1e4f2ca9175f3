"""llama.cpp: llama-server, and the same server that came along. What it is, and what its output means."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from launchdeck.domain.gpu import GpuType
from launchdeck.domain.model import ModelFormat
from launchdeck.domain.plan import EngineInfo, EngineKind
from launchdeck.domain.text import Message
from launchdeck.engines.choice import Advice
from launchdeck.engines.devices.devices import engine_devices
from launchdeck.engines.engine import Engine, EngineWords
from launchdeck.engines.exits import explain_exit
from launchdeck.engines.llama.argv import PROGRESS_ENV
from launchdeck.engines.llama.extra_args import maps_file
from launchdeck.engines.llama.failures import RULES
from launchdeck.engines.llama.find import find_llama_servers
from launchdeck.engines.llama.log import read_log_line
from launchdeck.engines.llama.plan import Layout, plan_llama
from launchdeck.models.library import demo_model
from launchdeck.planning.llama.estimate import MemoryModel

if TYPE_CHECKING:
    from pathlib import Path

    from launchdeck.domain.deployment import Exit
    from launchdeck.domain.errors import Failure
    from launchdeck.domain.gpu import Gpu
    from launchdeck.domain.model import ModelInfo, ServerType
    from launchdeck.domain.plan import LaunchPlan
    from launchdeck.domain.request import ModelLoadRequest
    from launchdeck.engines.adapter import Findings
    from launchdeck.engines.choice import Target
    from launchdeck.engines.context import PlanningContext
    from launchdeck.engines.engine import FoundEngines
    from launchdeck.models.gguf.gguf import HeaderCache
    from launchdeck.settings.paths import Paths
    from launchdeck.settings.schema import Settings

_WORDS = EngineWords(
    names={
        EngineKind.LLAMA_SERVER: "llama-server",
        EngineKind.EMBEDDED: Message("built-in"),
    },
    how_to_install=Message("Install llama-server in the engines view, or name one in the settings."),
    how_to_get={
        GpuType.NVIDIA: Message(
            "Get a llama-server built for CUDA in the engines view, name one in the settings, or choose the CPU."
        ),
        GpuType.AMD: Message(
            "Get a llama-server built for ROCm or Vulkan in the engines view, name one in the settings, "
            "or choose the CPU."
        ),
    },
    first_choice=Message("★ First choice for GGUF"),
    answers=Message("✓ Ready after {time} on {where}, and answers: {answer}"),
    came_along={EngineKind.EMBEDDED: Message("no other engine for it was found")},
)
_THROUGHPUT = Message("vLLM answers many requests at once faster, with the model in safetensors format")


class LlamaEngine(Engine):
    """Reads what llama-server writes with `argv.VERBOSITY` and `argv.PROGRESS_ENV`, and without them."""

    backend = "llama"
    kinds = (EngineKind.LLAMA_SERVER, EngineKind.EMBEDDED)
    anyone = EngineInfo(
        kind=EngineKind.LLAMA_SERVER,
        command=("llama-server",),
        path=None,
        version=None,
        gpu_types=frozenset({GpuType.NVIDIA, GpuType.AMD}),
        supports_rpc=True,
    )
    """It can do all that llama-server can."""
    words = _WORDS
    measures_free_memory = False
    shares_context = True
    own_env = (PROGRESS_ENV,)  # with it the server would end with its input

    def find(self, settings: Settings, paths: Paths) -> FoundEngines:
        """The llama-server of the settings, those got through Launchdeck, the one on PATH, the one that came along."""
        return find_llama_servers(settings, paths)

    def reads(self, model: ModelInfo) -> bool:
        """It serves GGUF files."""
        return model.format is ModelFormat.GGUF

    def read_memory(self, model: ModelInfo, headers: HeaderCache) -> MemoryModel:
        """The tensors and keys of the file's header."""
        return MemoryModel.of(headers.read(model.path))

    def runs_on_cpu(self, engine: EngineInfo) -> bool:  # noqa: ARG002 (others ask the engine)
        """Every build does."""
        return True

    def advise(
        self,
        model: ModelInfo,  # noqa: ARG002 (what it reads, it serves)
        gpus: Sequence[Gpu],
        server_type: ServerType,  # noqa: ARG002
        architectures: frozenset[str],  # noqa: ARG002
    ) -> Advice:
        """Nothing else reads a GGUF file."""
        return Advice(True, Message("the file is GGUF"), (_THROUGHPUT,) if gpus else ())

    def plan(self, request: ModelLoadRequest, context: PlanningContext, target: Target, port: int) -> LaunchPlan:
        """Its GPUs have names of its own, and RPC workers are devices after them."""
        assert isinstance(context.memory, MemoryModel)  # noqa: S101 (for the type checker: `read_memory` made it)
        devices = engine_devices(target.choice.engine, target.readings, request.rpc_workers, target.machine)
        layout = Layout(target.choice, target.readings, devices)
        return plan_llama(request, context, context.memory, layout, port)

    def maps_file(self, request: ModelLoadRequest) -> bool:
        """Unless it is told to copy them."""
        return maps_file(request.extra_args)

    def trial_model(self, folder: Path) -> Path | None:  # noqa: ARG002 (it is installed)
        """The demo model is a GGUF file."""
        return demo_model()

    def read_line(self, findings: Findings, line: str) -> Findings:
        """What is known after this line; the same object if the line says nothing."""
        return RULES.apply(read_log_line(findings, line), line)

    def explain_exit(self, findings: Findings, ended: Exit, tail: Sequence[str]) -> Failure:
        """The recognised cause, or the exit in words and the last lines."""
        return explain_exit(RULES, read_log_line, findings, ended, tail)
