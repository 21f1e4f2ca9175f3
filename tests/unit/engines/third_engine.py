"""A third engine, all of it in one file: what somebody writes who adds one, less what real programs need on top.

`third-server MODEL PORT` is taken for a server of models of the architecture ThirdForCausalLM alone. Where it is to
listen, and nothing else, stands on its command line; it takes the whole model onto one GPU, or none.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from launchdeck.domain.errors import Cause, Failure, Fix
from launchdeck.domain.gpu import GpuType, PlannedGpu
from launchdeck.domain.plan import DeviceEstimate, EngineInfo, EngineKind, Estimate, LaunchPlan, LayerPlan
from launchdeck.domain.text import Message
from launchdeck.engines.adapter import READY, WEIGHTS, Findings
from launchdeck.engines.choice import Advice, Target
from launchdeck.engines.context import HOST, PlanningContext, gpu_reasons, resolve_context
from launchdeck.engines.devices.devices import free_bytes
from launchdeck.engines.devices.masking import place
from launchdeck.engines.devices.targets import with_gpus
from launchdeck.engines.engine import Engine, EngineWords, FoundEngines
from launchdeck.engines.exits import explain_exit
from launchdeck.engines.failure_rules import Rules, rule
from launchdeck.engines.names import default_model_id
from launchdeck.files.looking import on_path

if TYPE_CHECKING:
    from launchdeck.domain.deployment import Exit
    from launchdeck.domain.gpu import Gpu
    from launchdeck.domain.model import ModelInfo, ServerType
    from launchdeck.domain.request import ModelLoadRequest
    from launchdeck.models.gguf.gguf import HeaderCache
    from launchdeck.settings.paths import Paths
    from launchdeck.settings.schema import Settings

KIND = EngineKind("third-server")
ARCHITECTURE = "ThirdForCausalLM"
RULES = Rules(
    rule(
        Failure(
            Cause.BAD_REQUEST,
            Message("third-server has no tokenizer for this model."),
            Message("Get the model with its tokenizer."),
            fixes=(Fix(Message("Use fewer slots"), (("n_parallel", 1),)),),
        ),
        "no tokenizer",
    )
)
_PERCENT = re.compile(r"reading (\d+)%")


@dataclass(frozen=True)
class ThirdMemory:
    """One layer more than it has blocks, as everywhere, and what its files take."""

    layer_count: int
    size_bytes: int


def read_log_line(findings: Findings, line: str) -> Findings:
    """How far it has read, and that it serves."""
    if (match := _PERCENT.search(line)) is not None:
        return replace(findings, stage=WEIGHTS, progress=int(match[1]) / 100)
    return replace(findings, stage=READY, progress=1.0) if "third-server serves" in line else findings


class ThirdEngine(Engine):
    """The whole family."""

    backend = "third"
    kinds = (KIND,)
    anyone = EngineInfo(KIND, ("third-server",), None, None, frozenset({GpuType.NVIDIA}))
    words = EngineWords(
        names={KIND: "Third"},
        how_to_install=Message("Put third-server on PATH."),
        first_choice=Message("★ First choice for the third kind"),
        answers=Message("✓ Third after {time} on {where}: {answer}"),
        layers_hint=Message("Third takes all layers or none."),
    )
    measures_free_memory = True
    shares_context = False
    own_env = (("THIRD_QUIET", "1"),)

    def find(self, settings: Settings, paths: Paths) -> FoundEngines:
        program = on_path("third-server")
        return FoundEngines((self.of(program),) if program else (), ())

    def of(self, program: Path) -> EngineInfo:
        return replace(self.anyone, command=(str(program),), path=program, version="3.0")

    def reads(self, model: ModelInfo) -> bool:
        return model.architecture == ARCHITECTURE

    def read_memory(self, model: ModelInfo, headers: HeaderCache) -> ThirdMemory:
        return ThirdMemory((model.block_count or 0) + 1, model.size_bytes)

    def runs_on_cpu(self, engine: EngineInfo) -> bool:
        return True

    def advise(
        self, model: ModelInfo, gpus: Sequence[Gpu], server_type: ServerType, architectures: frozenset[str]
    ) -> Advice:
        if gpus:
            return Advice(True, Message("only Third knows this kind of model"))
        return Advice(False, Message("Third is slow without a GPU"), is_preference=True)

    def plan(self, request: ModelLoadRequest, context: PlanningContext, target: Target, port: int) -> LaunchPlan:
        memory = context.memory
        assert isinstance(memory, ThirdMemory)
        gpus = tuple(PlannedGpu.of(reading.gpu) for reading in target.readings)
        on_gpu = [
            DeviceEstimate(f"GPU {reading.gpu.index}", memory.size_bytes, 0, 0, 0, free_bytes(reading))
            for reading in target.readings
        ]
        host = DeviceEstimate("host", 0 if gpus else memory.size_bytes, 0, 0, 0, free_bytes(context.inventory.cpu))
        all_of_ours = [reading.gpu for reading in context.inventory.gpus]
        placement = place([reading.gpu for reading in target.readings], all_of_ours)
        layers = memory.layer_count if gpus else 0
        return LaunchPlan(
            request=with_gpus(request, gpus),
            model=context.model,
            model_id=request.model_id or default_model_id(context.model),
            engine=target.choice.engine,
            reasons=(*target.choice.reasons, *gpu_reasons(request, target.readings)),
            argv=(*target.choice.engine.command, str(context.model.path), str(port)),
            env=(*placement.env, *self.own_env),
            env_unset=placement.unset,
            secret_env=(),
            host=HOST,
            port=port,
            n_ctx=resolve_context(request, context.model),
            device_names=tuple(device.device for device in on_gpu),
            layers=LayerPlan(request.n_gpu_layers, layers, memory.layer_count, layers),
            estimate=Estimate(tuple(on_gpu), host),
            warnings=target.choice.warnings,
            blocker=target.choice.blocker,
            for_others=target.choice.for_others,
            gpus=gpus,
        )

    def maps_file(self, request: ModelLoadRequest) -> bool:
        return False

    def trial_model(self, folder: Path) -> Path | None:
        return None

    def read_line(self, findings: Findings, line: str) -> Findings:
        return RULES.apply(read_log_line(findings, line), line)

    def explain_exit(self, findings: Findings, ended: Exit, tail: Sequence[str]) -> Failure:
        return explain_exit(RULES, read_log_line, findings, ended, tail)
