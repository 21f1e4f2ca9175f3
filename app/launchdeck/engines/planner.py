"""Requests to plans, for every door: what is known of the machine, kept at one place and put into `plan_launch`."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
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
from launchdeck.files.apart import NoAnswerError, call_apart
from launchdeck.models.describe import describe_unread, inspect
from launchdeck.models.errors import contradictory, does_not_answer
from launchdeck.models.gguf import HeaderCache
from launchdeck.models.library import PATIENCE_S
from launchdeck.models.safetensors import read_safetensors
from launchdeck.planning.estimate import MemoryModel
from launchdeck.planning.returned import without_processes
from launchdeck.planning.vllm_memory import VllmMemory
from launchdeck.settings.paths import Paths
from launchdeck.settings.schema import Settings

logger = logging.getLogger(__name__)

_Known = tuple[ModelInfo, MemoryModel | VllmMemory | None]


class Planner:
    """Knows the latest inventory, the engines found and the headers read. Set the first two when they are known.

    `plan` may be called from any thread; `preview` never touches the disk.
    """

    def __init__(self, settings: Callable[[], Settings], paths: Paths | None = None) -> None:
        self._settings = settings
        self._headers = HeaderCache()
        self._known: dict[Path, _Known] = {}
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

    @property
    def seen_gpu_uuids(self) -> set[str]:
        """The GPUs that models have run on, in this run and in those before."""
        return self._residuals.gpu_uuids

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
        return self._accounting.refine(self._plan(request, context, port))

    def _plan(self, request: ModelLoadRequest, context: PlanningContext, port: int) -> LaunchPlan:
        """The last resort: what a model's header holds and nobody thought of is the model's fault, and told as that."""
        try:
            return plan_launch(request, context, port)
        except LaunchdeckError:
            raise
        except Exception as error:
            path = request.model_path
            logger.exception("%s cannot be planned with", path)
            problem = contradictory(path)
            self._known[path] = (replace(context.model, problem=problem), None)
            raise LaunchdeckError.of(Cause.MODEL_UNUSABLE, problem, Message("Choose another model.")) from error

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
        """Read the model's header (again, if the file has changed); whatever is wrong with it, `preview` tells.

        Touches the disk, in a thread that is given up where that does not answer; any thread.
        """
        try:
            self._known[path] = call_apart(lambda: self._read(path), PATIENCE_S)
        except NoAnswerError as error:
            self._known[path] = (describe_unread(path, does_not_answer(error.place)), None)

    def see_models(self, models: Iterable[ModelInfo]) -> None:
        """What is on the disks now: a model that could not be used, and can be now, is read again when it is asked
        for.
        """
        for model in models:
            known = self._known.get(model.path)
            if known is not None and known[0].problem is not None and model.problem is None:
                del self._known[model.path]

    def _read(self, path: Path) -> _Known:
        model = inspect(path)
        if model.problem is not None:
            return model, None
        try:
            return model, self._memory(model)
        except LaunchdeckError as error:  # the file was exchanged meanwhile
            return replace(model, problem=error.failure.message), None
        except Exception:
            logger.exception("no estimate can be made for %s", path)
            return replace(model, problem=contradictory(path)), None

    def _memory(self, model: ModelInfo) -> MemoryModel | VllmMemory:
        if model.format is ModelFormat.SAFETENSORS:
            return VllmMemory(read_safetensors(model.path))
        return MemoryModel.of(self._headers.read(model.path))
