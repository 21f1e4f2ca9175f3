"""Requests to plans, for every door: what is known of the machine, kept at one place and put into `plan_launch`."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from launchdeck.domain.deployment import Deployment
from launchdeck.domain.errors import Cause, Failure, LaunchdeckError
from launchdeck.domain.gpu import Inventory
from launchdeck.domain.model import ModelInfo
from launchdeck.domain.plan import EngineInfo, LaunchPlan, Tier, Verdict
from launchdeck.domain.request import ModelLoadRequest
from launchdeck.domain.text import Message
from launchdeck.engines import advice
from launchdeck.engines.context import Ceiling, ModelMemory, PlanningContext
from launchdeck.engines.devices.device_orders import DeviceOrders
from launchdeck.engines.devices.listing import bus_place
from launchdeck.engines.llama.accounting import Accounting
from launchdeck.engines.llama.extra_args import maps_file
from launchdeck.engines.naming import with_gpus_named
from launchdeck.engines.plan import plan_launch
from launchdeck.engines.promises import promises, with_promises
from launchdeck.engines.refusals import refusal
from launchdeck.engines.registry import engine_for
from launchdeck.engines.residuals import Residuals
from launchdeck.engines.returned import without_processes
from launchdeck.files.apart import NoAnswerError, call_apart
from launchdeck.models.describe import describe_unread, inspect
from launchdeck.models.errors import contradictory, does_not_answer
from launchdeck.models.gguf.gguf import HeaderCache
from launchdeck.models.library import PATIENCE_S
from launchdeck.planning.llama.estimate import MemoryModel
from launchdeck.settings.paths import Paths
from launchdeck.settings.schema import Settings

logger = logging.getLogger(__name__)

MOST_STEPS = 12

_Known = tuple[ModelInfo, ModelMemory | None]
_Ceilings = dict[tuple[ModelLoadRequest, Settings, tuple[EngineInfo, ...]], Ceiling]


class Planner:
    """Knows the latest inventory, the engines found and the headers read. Set the first two when they are known.

    `plan` may be called from any thread; `preview` never touches the disk.
    """

    def __init__(
        self,
        settings: Callable[[], Settings],
        paths: Paths | None = None,
        *,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        """`environ` is what engines inherit."""
        self._settings = settings
        self._inherited = frozenset(environ)
        self._headers = HeaderCache()
        self._known: dict[Path, _Known] = {}
        self._inventory: Inventory | None = None
        self._before_s: float | None = None
        self._ended: frozenset[int] = frozenset()
        self._live: dict[str, Deployment] = {}
        self._machines: dict[tuple[str | None, Path | None], tuple[Inventory, int]] = {}
        self._ceilings: _Ceilings = {}
        self._accounting = Accounting(paths.cache / "accounting.json" if paths else None)
        self._orders = DeviceOrders(paths.state / "device-orders.json" if paths else None)
        self._residuals = Residuals(paths.state / "residuals.json" if paths else None)
        self._engines: tuple[EngineInfo, ...] | None = None
        self.known = asyncio.Event()
        """Set while this machine's devices and its engines are known. Both are told in the event loop's thread."""

    @property
    def engines(self) -> tuple[EngineInfo, ...] | None:
        """Those of this machine, in the order of preference; None: they are still being looked for."""
        return self._engines

    @engines.setter
    def engines(self, engines: tuple[EngineInfo, ...] | None) -> None:
        self._engines = engines
        self._tell_known()

    def _tell_known(self) -> None:
        if self._inventory is None or self._engines is None:
            self.known.clear()
        else:
            self.known.set()

    @property
    def inventory(self) -> Inventory | None:
        """The latest reading, without what deployments held that have ended since, and with what is promised to those
        that live.
        """
        machine = self._machine(None)
        return None if machine is None else machine[0]

    @inventory.setter
    def inventory(self, inventory: Inventory | None) -> None:
        seen = {
            process.pid for reading in (inventory.gpus if inventory else ()) for process in reading.sample.processes
        }
        if self._inventory is not None and self._inventory is not inventory:
            self._before_s = self._inventory.sampled_at_s
        self._inventory, self._ended = inventory, self._ended & seen
        self._forget_machines()  # last: who looks meanwhile keeps what it finds with the old ones
        if inventory is not None:
            for deployment in self._live.values():
                self._residuals.learn(deployment, inventory)
        self._tell_known()

    @property
    def seen_gpu_uuids(self) -> set[str]:
        """The GPUs that models have run on, in this run and in those before."""
        return self._residuals.gpu_uuids

    def on_deployment(self, deployment: Deployment) -> None:
        """News of a deployment: from its first moment what it will take is promised; what its processes held is free
        once they have ended, before the next reading says so; and while it runs, the readings teach what the driver
        takes besides its buffers. Its log teaches where its devices sit.
        """
        before = self._live.get(deployment.id)
        known = [*(kept for kept in self._live.values() if kept.id != deployment.id), deployment]
        known.sort(key=lambda kept: (kept.created_at_s, kept.id))  # who came first is named first, adopted ones as well
        self._live = {kept.id: kept for kept in known if kept.state.is_live}
        pids = frozenset(deployment.pids if deployment.state.is_live else ())
        self._ended = (self._ended | frozenset(before.pids if before else deployment.pids)) - pids
        self._forget_machines()
        self._orders.learn(deployment, self._places())
        self._ceilings = {}  # of the order that was known

    def _forget_machines(self) -> None:
        self._machines, self._ceilings = {}, {}

    def _places(self) -> frozenset[str | None]:
        """Where this machine's cards are on the bus, as far as that is known."""
        inventory = self._inventory
        if inventory is None or inventory.replayed:
            return frozenset()
        return frozenset(bus_place(reading.gpu.pci_address) for reading in inventory.gpus)

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
        known, ceilings = self._known.get(request.model_path), self._ceilings  # of the machine that follows, or older
        machine = self._machine(request)
        if known is None or machine is None or self.engines is None:
            return None
        inventory, shared_bytes = machine
        model, memory = known
        context = PlanningContext(
            inventory=inventory,
            engines=self.engines,
            settings=self._settings(),
            model=model,
            memory=memory,
            residuals=self._residuals,
            inherited=self._inherited,
            orders=self._orders,
            shared_bytes=shared_bytes,
        )
        return self._settled(request, context, port, ceilings)

    def _settled(
        self, request: ModelLoadRequest, context: PlanningContext, port: int, ceilings: _Ceilings
    ) -> LaunchPlan:
        """The plan as far as the engine itself has given an account of it, for "auto" and for any number of layers."""
        if self._accounting.has_answers and isinstance(context.memory, MemoryModel) and request.n_gpu_layers != 0:
            automatic = replace(request, n_gpu_layers=None)
            key = (automatic, context.settings, context.engines)
            if key not in ceilings:
                try:
                    ceilings[key] = self._ceiling(automatic, context, port)
                except LaunchdeckError:
                    if request == automatic:
                        raise
                    ceilings[key] = Ceiling()  # what was asked for may be possible all the same
            context = replace(context, ceiling=ceilings[key])
        return self._accounting.refine(self._plan(request, context, port))

    def _ceiling(self, request: ModelLoadRequest, context: PlanningContext, port: int) -> Ceiling:
        """What the engine's account leaves of "auto". Where that says that the layers which were found do not fit,
        there are fewer, as often as it is said. The way down is the same each time, so what was answered once leads no
        way up again.
        """
        for _ in range(MOST_STEPS):
            counted = self._plan(request, context, port)
            plan = self._accounting.refine(counted)
            if not _is_over(plan):
                break
            context = replace(context, ceiling=_lower(context.ceiling, counted, plan))
        return context.ceiling

    def _machine(self, request: ModelLoadRequest | None) -> tuple[Inventory, int] | None:
        """The latest reading for this launch, and `Promises.shared_bytes`. Nothing is promised to itself: what lives
        under its name is an attempt of the same launch, or what it is to replace, because no other can have that name.
        What that holds comes back.
        """
        known, live = self._machines, self._live.values()
        if self._inventory is None:
            return None
        if self._inventory.replayed:  # nobody runs on a machine that was recorded
            return self._inventory, 0
        own = request.model_id if request else None
        shared = request.model_path if request and maps_file(request.extra_args) else None
        if all(deployment.plan.model_id != own for deployment in live):
            own = None
        if all(deployment.plan.request.model_path != shared for deployment in live):
            shared = None
        if (own, shared) not in known:
            others = [deployment for deployment in live if deployment.plan.model_id != own]
            replaced = [deployment for deployment in live if own is not None and deployment.plan.model_id == own]
            back = self._ended.union(*(deployment.pids for deployment in replaced))
            ram_bytes = sum(deployment.own_ram_bytes or 0 for deployment in replaced)
            promised = promises(others, self._inventory, before_s=self._before_s, shared=shared)
            inventory = without_processes(self._inventory, back, ram_bytes)
            known[own, shared] = with_promises(inventory, promised), promised.shared_bytes
        return known[own, shared]

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
        """The failure of this launch with its GPUs by name, and what would have helped in numbers. Any thread."""
        fixes = failure.fixes
        if failure.cause is Cause.OUT_OF_MEMORY:
            same = plan.model_id
            fixes = advice.after_failure(
                plan, failure, lambda asked: self.preview(replace(asked, model_id=same), plan.port)
            )
        return replace(with_gpus_named(plan, failure), fixes=advice.useful(plan, fixes))

    def refuse(self, plan: LaunchPlan) -> Failure | None:
        """Why a launch is not started that nobody has looked at: it does not fit. Any thread."""
        models = {pid: deployment.plan.model_id for deployment in self._live.values() for pid in deployment.pids}
        why = refusal(plan, self._inventory, models)
        return why and replace(why, fixes=advice.fixes(plan, lambda asked: self.preview(asked, plan.port)))

    def can_account(self, plan: LaunchPlan) -> bool:
        """Whether the engine could say more exactly what this plan takes."""
        return self._accounting.is_open(plan)

    def account(self, plan: LaunchPlan) -> bool:
        """Ask the engine for its own account; whether the next preview knows more. For a worker thread."""
        _, memory = self._known[plan.request.model_path]
        if not isinstance(memory, MemoryModel) or not self._accounting.ask(plan, memory):
            return False
        self._ceilings = {}
        return True

    def is_prepared(self, path: Path) -> bool:
        """Whether `preview` knows this model."""
        return path in self._known

    def prepare(self, path: Path) -> None:
        """Read the model's header (again, if the file has changed); whatever is wrong with it, `preview` tells.

        Touches the disk, in a thread that is given up where that does not answer; any thread.
        """
        before = self._known.get(path)
        try:
            known = call_apart(lambda: self._read(path), PATIENCE_S)
        except NoAnswerError as error:
            known = (describe_unread(path, does_not_answer(error.place)), None)
        self._known[path] = known
        if before is None or before[0] != known[0]:
            self._ceilings = {}

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

    def _memory(self, model: ModelInfo) -> ModelMemory:
        return engine_for(model).read_memory(model, self._headers)


def _is_over(plan: LaunchPlan) -> bool:
    """Whether a device takes more than "auto" may, by the engine's own account of it."""
    return plan.layers.resolved > 0 and any(
        device.compute_tier is Tier.ENGINE
        and device.verdict(plan.margin_bytes) in {Verdict.TIGHT, Verdict.DOES_NOT_FIT}
        for device in plan.estimate.devices
    )


def _lower(known: Ceiling, counted: LaunchPlan, plan: LaunchPlan) -> Ceiling:
    """One layer less at least, and on each device the most that the form was ever short of."""
    pairs = list(zip(counted.estimate.devices, plan.estimate.devices, strict=True))
    before = known.more_bytes or (0,) * len(pairs)
    more = (max(old, told.compute_bytes - ours.compute_bytes) for (ours, told), old in zip(pairs, before, strict=True))
    return Ceiling(plan.layers.resolved - 1, tuple(more))
