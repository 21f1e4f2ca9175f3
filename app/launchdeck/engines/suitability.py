"""One table for one plan: what each engine can do with which devices, what the rules say of that, and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from launchdeck.domain.gpu import Gpu
from launchdeck.domain.model import ModelInfo
from launchdeck.domain.plan import EngineInfo
from launchdeck.domain.request import ModelLoadRequest
from launchdeck.engines import registry
from launchdeck.engines.choice import Advice
from launchdeck.engines.devices.devices import Machine, can_use
from launchdeck.engines.engine import Engine


@dataclass(frozen=True, slots=True)
class Cell:
    """One engine on certain devices. `can`: it has a backend for all of them (none: for the CPU), and for the workers
    that are wanted. `advice` is what its family's rules say.
    """

    can: bool
    advice: Advice

    @property
    def is_advised(self) -> bool:
        return self.can and self.advice.is_for

    @property
    def is_possible(self) -> bool:
        """Whether it would be taken where nothing better is there."""
        return self.can and (self.advice.is_for or self.advice.is_preference)


class Suitability:
    """Made once for a plan; a cell is filled when somebody first looks at it.

    `family` are the engines that serve models of this kind. `engines` are those of it that are here, in the order of
    preference, `others` those of all families.
    """

    def __init__(
        self, request: ModelLoadRequest, model: ModelInfo, engines: Sequence[EngineInfo], machine: Machine
    ) -> None:
        """`machine` has all GPUs. Raises LaunchdeckError: nothing serves models of this kind."""
        self.request = request
        self.model = model
        self.machine = machine
        self.family: Engine = registry.engine_for(model)
        self.all_engines = tuple(engines)
        self.engines = tuple(engine for engine in engines if engine.kind in self.family.kinds)
        self._cells: dict[tuple[EngineInfo, tuple[Gpu, ...]], Cell] = {}

    def cell(self, engine: EngineInfo, gpus: Sequence[Gpu]) -> Cell:
        """What this engine can do with all of these GPUs together (none: with the CPU)."""
        key = engine, tuple(gpus)
        if key not in self._cells:
            self._cells[key] = Cell(self._can(engine, gpus), self.advise(gpus, engine.architectures))
        return self._cells[key]

    def advise(self, gpus: Sequence[Gpu], architectures: frozenset[str]) -> Advice:
        """What the family's rules say of these GPUs, for an engine that knows these architectures (none: all)."""
        return self.family.advise(self.model, gpus, self.request.server_type, architectures)

    def advise_family(self, gpus: Sequence[Gpu]) -> Advice:
        """The same for what its engines here know together; for all, where one of them has not told."""
        known = [engine.architectures for engine in self.engines]
        return self.advise(gpus, frozenset().union(*known) if all(known) else frozenset())

    def knows_workers(self, engine: EngineInfo) -> bool:
        """Whether it could use the RPC workers that are wanted."""
        return engine.supports_rpc or not self.request.rpc_workers

    def is_hidden(self, engine: EngineInfo, gpu: Gpu) -> bool:
        """Whether a mask alone keeps this engine from this GPU."""
        unmasked = replace(engine, hidden_devices=frozenset())
        return bool(engine.hidden_devices) and can_use(unmasked, (gpu,), self.machine)

    def _can(self, engine: EngineInfo, gpus: Sequence[Gpu]) -> bool:
        if not gpus and not self.family.runs_on_cpu(engine):
            return False
        return self.knows_workers(engine) and can_use(engine, gpus, self.machine)
