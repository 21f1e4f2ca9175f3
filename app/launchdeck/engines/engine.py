"""What every family of engines answers. One folder holds one, and `registry` lists them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from launchdeck.engines.adapter import EngineAdapter

if TYPE_CHECKING:
    from pathlib import Path

    from launchdeck.domain.errors import Failure
    from launchdeck.domain.gpu import Gpu, GpuType
    from launchdeck.domain.model import ModelInfo, ServerType
    from launchdeck.domain.plan import EngineInfo, EngineKind, LaunchPlan
    from launchdeck.domain.request import ModelLoadRequest
    from launchdeck.domain.text import Message
    from launchdeck.engines.choice import Advice, Target
    from launchdeck.engines.context import ModelMemory, PlanningContext
    from launchdeck.models.gguf.gguf import HeaderCache
    from launchdeck.settings.paths import Paths
    from launchdeck.settings.schema import Settings


@dataclass(frozen=True, slots=True)
class FoundEngines:
    """`problems` are sentences about engines that should be there and cannot be used."""

    engines: tuple[EngineInfo, ...]
    problems: tuple[Message, ...]


@dataclass(frozen=True, slots=True)
class EngineWords:
    """What people read of a family.

    `names` are those of its kinds. `how_to_install` is told where there is none, `how_to_get` (by vendor, else
    `how_to_get_any`) where none is built for a GPU, `not_on_cpu` where none does without one, and `unsuited` (with a
    {name} and a {reason}) where its rules would have another family serve the model. `first_choice` marks the preferred
    one, `answers` says that one was tried, with {time}, {where} and {answer}. `layers_hint` explains the number of
    layers. `came_along` goes on after "because" where one that came with Launchdeck is taken, by its kind.
    """

    names: Mapping[EngineKind, Message | str]
    how_to_install: Message
    first_choice: Message
    answers: Message
    how_to_get: Mapping[GpuType, Message] = field(default_factory=dict)
    how_to_get_any: Message | None = None
    not_on_cpu: Failure | None = None
    unsuited: Failure | None = None
    layers_hint: Message | None = None
    came_along: Mapping[EngineKind, Message] = field(default_factory=dict)


class Engine(EngineAdapter, Protocol):
    """A family of engines: all that is decided by which engine it is. It keeps nothing of any launch.

    Attributes:
        backend: its name in requests and in the HTTP contract.
        kinds: the kinds of engine that belong to it, by the names that records have.
        anyone: what a plan is made for where no engine of it is there.
        words: what people read.
        measures_free_memory: two of it that start on one GPU would measure each other, so they take turns.
        shares_context: all its slots together have the context that is asked for; else each request has it.
        own_env: the variables of a plan that serve only us, and are left out of a command for a terminal.
    """

    backend: str
    kinds: tuple[EngineKind, ...]
    anyone: EngineInfo
    words: EngineWords
    measures_free_memory: bool
    shares_context: bool
    own_env: tuple[tuple[str, str], ...]

    def find(self, settings: Settings, paths: Paths) -> FoundEngines:
        """Find those of this machine, in the order of preference. Starts programs: for a worker thread."""
        ...

    def reads(self, model: ModelInfo) -> bool:
        """Tell whether models of this kind are this family's to serve."""
        ...

    def read_memory(self, model: ModelInfo, headers: HeaderCache) -> ModelMemory:
        """Read the model's header for what `plan` needs of it. Touches the disk.

        Raises:
            LaunchdeckError: it cannot be read.
        """
        ...

    def runs_on_cpu(self, engine: EngineInfo) -> bool:
        """Tell whether this one does without a GPU."""
        ...

    def advise(
        self, model: ModelInfo, gpus: Sequence[Gpu], server_type: ServerType, architectures: frozenset[str]
    ) -> Advice:
        """Say what the rules have for this model on these GPUs (none: the CPU). `architectures` are those that an
        engine knows (none: it has not told).
        """
        ...

    def plan(self, request: ModelLoadRequest, context: PlanningContext, target: Target, port: int) -> LaunchPlan:
        """Make the launch that this request means there: its command, its environment, and what it takes.

        Raises:
            LaunchdeckError: it cannot be carried out.
        """
        ...

    def maps_file(self, request: ModelLoadRequest) -> bool:
        """Tell whether its weights in RAM are pages of the model's file, which all that serve it share."""
        ...

    def trial_model(self, folder: Path) -> Path | None:
        """Give a small model to try an engine with, made below `folder` where there is none; None: none is there."""
        ...
