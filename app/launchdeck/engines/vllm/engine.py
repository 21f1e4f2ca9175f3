"""vLLM: what it is, and what its output means."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from launchdeck.domain.errors import Cause, Failure
from launchdeck.domain.gpu import GpuType
from launchdeck.domain.model import ModelFormat
from launchdeck.domain.plan import EngineInfo, EngineKind
from launchdeck.domain.text import Message
from launchdeck.engines.apart import look_apart
from launchdeck.engines.engine import Engine, EngineWords, FoundEngines
from launchdeck.engines.exits import explain_exit
from launchdeck.engines.getting.fetched import fetched_engines
from launchdeck.engines.getting.offers import OfferKind
from launchdeck.engines.vllm.failures import RULES
from launchdeck.engines.vllm.find import find_vllm
from launchdeck.engines.vllm.log import read_log_line
from launchdeck.engines.vllm.plan import plan_vllm
from launchdeck.engines.vllm.rules import advise
from launchdeck.models.gguf.tiny_llama import write_tiny_llama
from launchdeck.models.safetensors.safetensors import read_safetensors
from launchdeck.planning.vllm.memory import VllmMemory

if TYPE_CHECKING:
    from pathlib import Path

    from launchdeck.domain.deployment import Exit
    from launchdeck.domain.gpu import Gpu
    from launchdeck.domain.model import ModelInfo, ServerType
    from launchdeck.domain.plan import LaunchPlan
    from launchdeck.domain.request import ModelLoadRequest
    from launchdeck.engines.adapter import Findings
    from launchdeck.engines.choice import Advice, Target
    from launchdeck.engines.context import PlanningContext
    from launchdeck.models.gguf.gguf import HeaderCache
    from launchdeck.settings.paths import Paths
    from launchdeck.settings.schema import Settings

_AS_GGUF = Message("Get the model as a GGUF file: llama-server serves it here.")
_WORDS = EngineWords(
    names={EngineKind.VLLM: "vLLM"},
    how_to_install=Message(
        "Install vLLM in the engines view, name one in the settings, or get the model as a GGUF file."
    ),
    how_to_get_any=Message(
        "Install a vLLM built for this GPU in the engines view, name one in the settings, "
        "or get the model as a GGUF file."
    ),
    not_on_cpu=Failure(Cause.ENGINE_UNSUITED, Message("No vLLM found here is built for the CPU."), _AS_GGUF),
    unsuited=Failure(Cause.ENGINE_UNSUITED, Message("vLLM cannot serve {name} here: {reason}."), _AS_GGUF),
    first_choice=Message("★ First choice for safetensors"),
    answers=Message("✓ Ready after {time} on {where}, and answers, with a model of random numbers: {answer}"),
    layers_hint=Message("vLLM reads the layers that are not on the GPU from RAM."),
)


class VllmEngine(Engine):
    """Reads what vLLM's processes write, all into one log.

    It is ready when /health answers 200; while it loads, its port refuses connections.
    """

    backend = "vllm"
    kinds = (EngineKind.VLLM,)
    anyone = EngineInfo(
        kind=EngineKind.VLLM,
        command=("vllm",),
        path=None,
        version=None,
        gpu_types=frozenset({GpuType.NVIDIA, GpuType.AMD, GpuType.CPU}),
    )
    words = _WORDS
    measures_free_memory = True
    shares_context = False
    own_env = ()

    def find(self, settings: Settings, paths: Paths) -> FoundEngines:
        """The vLLM of the settings, those got through Launchdeck, the one on PATH, the one beside ourselves."""
        fetched = look_apart(lambda: fetched_engines(paths)) or ()
        environments = [engine.folder for engine in fetched if engine.kind is OfferKind.ENVIRONMENT]
        engines, problems = find_vllm(settings.vllm_path, environments)
        return FoundEngines(tuple(engines), tuple(problems))

    def reads(self, model: ModelInfo) -> bool:
        """It serves folders of safetensors."""
        return model.format is ModelFormat.SAFETENSORS

    def read_memory(self, model: ModelInfo, headers: HeaderCache) -> VllmMemory:  # noqa: ARG002 (of GGUF files)
        """The headers of the weights, and config.json."""
        return VllmMemory(read_safetensors(model.path))

    def runs_on_cpu(self, engine: EngineInfo) -> bool:
        """It takes a build for the CPU."""
        return GpuType.CPU in engine.gpu_types

    def advise(
        self, model: ModelInfo, gpus: Sequence[Gpu], server_type: ServerType, architectures: frozenset[str]
    ) -> Advice:
        """See `rules`."""
        return advise(model, gpus, server_type, architectures)

    def plan(self, request: ModelLoadRequest, context: PlanningContext, target: Target, port: int) -> LaunchPlan:
        """Without layers on a GPU it runs on the CPU alone."""
        assert isinstance(context.memory, VllmMemory)  # noqa: S101 (for the type checker: `read_memory` made it)
        readings = target.readings if request.n_gpu_layers != 0 else ()
        return plan_vllm(request, context, context.memory, readings, target.choice, port)

    def maps_file(self, request: ModelLoadRequest) -> bool:  # noqa: ARG002 (others may be told to)
        """It copies them."""
        return False

    def trial_model(self, folder: Path) -> Path | None:
        """A model of random numbers: the demo model is a GGUF file."""
        return write_tiny_llama(folder / "tiny-llama")

    def read_line(self, findings: Findings, line: str) -> Findings:
        """What is known after this line; the same object if the line says nothing."""
        return RULES.apply(read_log_line(findings, line), line)

    def explain_exit(self, findings: Findings, ended: Exit, tail: Sequence[str]) -> Failure:
        """The recognised cause, or the exit in words and the last lines."""
        return explain_exit(RULES, read_log_line, findings, ended, tail)
