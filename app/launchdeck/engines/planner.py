"""Requests to plans, for every door: what is known of the machine, kept at one place and put into `plan_launch`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from launchdeck.domain.deployment import Deployment, State
from launchdeck.domain.errors import Cause, Failure, LaunchdeckError
from launchdeck.domain.gpu import Inventory
from launchdeck.domain.model import ModelFormat, ModelInfo
from launchdeck.domain.plan import EngineInfo, LaunchPlan
from launchdeck.domain.request import ModelLoadRequest
from launchdeck.domain.text import Message
from launchdeck.engines import advice
from launchdeck.engines.accounting import Accounting
from launchdeck.engines.context import PlanningContext
from launchdeck.engines.plan import plan_launch
from launchdeck.engines.residuals import Residuals
from launchdeck.models.describe import inspect
from launchdeck.models.gguf import HeaderCache
from launchdeck.models.safetensors import read_safetensors
from launchdeck.planning.estimate import MemoryModel
from launchdeck.planning.returned import without_processes
from launchdeck.planning.vllm_memory import VllmMemory
from launchdeck.settings.paths import Paths
from launchdeck.settings.schema import Settings


class Planner:
    """Knows the latest inventory, the engines found and the headers read. Set the first two when they are known.

    `plan` may be called from any thread; `preview` never touches the disk.
    """

    def __init__(self, settings: Callable[[], Settings], paths: Paths | None = None) -> None:
        self._settings = settings
        self._headers = HeaderCache()
        self._known: dict[Path, tuple[ModelInfo, MemoryModel | VllmMemory | None]] = {}
        self._inventory: Inventory | None = None
        self._pids: dict[str, tuple[int, ...]] = {}
        self._ended: frozenset[int] = frozenset()
        self._running: dict[str, Deployment] = {}
        self._accounting = Accounting(paths.cache / "accounting.json" if paths else None)
        self._residuals = Residuals(paths.state / "residuals.json" if paths else None)
        self.engines: tuple[EngineInfo, ...] | None = None

    @property
    def inventory(self) -> Inventory | None:
        """The latest reading, without what deployments held that have ended since."""
        return None if self._inventory is None else without_processes(self._inventory, self._ended)

    @inventory.setter
    def inventory(self, inventory: Inventory | None) -> None:
        seen = {
            process.pid for reading in (inventory.gpus if inventory else ()) for process in reading.sample.processes
        }
        self._inventory, self._ended = inventory, self._ended & seen
        if inventory is not None:
            for deployment in self._running.values():
                self._residuals.learn(deployment, inventory)

    def on_deployment(self, deployment: Deployment) -> None:
        """News of a deployment: what it held is free once it has ended, before the next reading says so; and while it
        runs, the readings teach what the driver takes besides its buffers.
        """
        self._running = {key: kept for key, kept in self._running.items() if key != deployment.id}
        if deployment.state is State.RUNNING:
            self._running[deployment.id] = deployment
        if deployment.pids:
            self._pids[deployment.id] = deployment.pids
        if not deployment.state.is_live:
            self._ended |= frozenset(self._pids.pop(deployment.id, ()))

    def plan(self, request: ModelLoadRequest, port: int) -> LaunchPlan:
        """The plan for this request, from the model's file as it is now.

        Raises:
            LaunchdeckError: the request cannot be carried out; the failure says why and what to do.
        """
        self.prepare(request.model_path)
        plan = self.preview(request, port)
        if plan is None:
            raise LaunchdeckError.of(
                Cause.NOT_READY,
                Message("This machine's GPUs and engines are still being looked for."),
                Message("Try again in a moment."),
            )
        return plan

    def preview(self, request: ModelLoadRequest, port: int) -> LaunchPlan | None:
        """The same from what is known already; None while something is still being found out.

        Raises:
            LaunchdeckError: as for `plan`.
        """
        known = self._known.get(request.model_path)
        inventory = self.inventory
        if known is None or inventory is None or self.engines is None:
            return None
        model, memory = known
        context = PlanningContext(
            inventory=inventory,
            engines=self.engines,
            settings=self._settings(),
            model=model,
            memory=memory,
            residuals=self._residuals,
        )
        return self._accounting.refine(plan_launch(request, context, port))

    def advise(self, plan: LaunchPlan, failure: Failure) -> Failure:
        """The failure of this launch, with what would have helped in numbers. Any thread."""
        fixes = failure.fixes
        if failure.cause is Cause.OUT_OF_MEMORY:
            fixes = advice.after_failure(plan, failure, lambda asked: self.preview(asked, plan.port))
        return replace(failure, fixes=advice.useful(plan, fixes))

    def can_account(self, plan: LaunchPlan) -> bool:
        """Whether the engine could say more exactly what this plan takes."""
        return self._accounting.is_open(plan)

    def account(self, plan: LaunchPlan) -> bool:
        """Ask the engine for its own account; whether the next preview knows more. For a worker thread."""
        _, memory = self._known[plan.request.model_path]
        return isinstance(memory, MemoryModel) and self._accounting.ask(plan, memory)

    def is_prepared(self, path: Path) -> bool:
        """Whether `preview` knows this model."""
        return path in self._known

    def prepare(self, path: Path) -> None:
        """Read the model's header (again, if the file has changed). Touches the disk; any thread."""
        model = inspect(path)
        memory: MemoryModel | VllmMemory | None = None
        if model.problem is None:
            memory = self._memory(model)
        self._known[path] = (model, memory)

    def _memory(self, model: ModelInfo) -> MemoryModel | VllmMemory:
        if model.format is ModelFormat.SAFETENSORS:
            return VllmMemory(read_safetensors(model.path))
        return MemoryModel.of(self._headers.read(model.path))
