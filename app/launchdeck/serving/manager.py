"""All deployments: load, stop, adopt, and tell whoever wants to know."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from launchdeck.domain.deployment import Deployment, State
from launchdeck.domain.errors import LaunchdeckError
from launchdeck.files.removal import remove_tree
from launchdeck.serving.failures import (
    cannot_be_ended,
    linux_only,
    name_in_use,
    newer_shim,
    not_adopted,
    not_found,
    record_stays,
    shim_silent,
    still_runs,
)
from launchdeck.serving.launcher import ShimLauncher, launch_failed
from launchdeck.serving.logs import LogBuffer
from launchdeck.serving.port_table import PortTable
from launchdeck.serving.records.healing import HEALED_S
from launchdeck.serving.records.recall import clear, is_supervised, reach, recall_ended, recall_live
from launchdeck.serving.records.records import Record, ShimStatus, read_again, read_record, read_records
from launchdeck.serving.records.unstarted import is_unstarted, note_launch, read_unstarted
from launchdeck.serving.requests.start_list import StartList
from launchdeck.serving.shim.record import RECORD_NAME
from launchdeck.serving.shim_client import NewerShimError
from launchdeck.serving.spec import build_spec
from launchdeck.serving.supervisor import Supervisor
from launchdeck.serving.turns import LatestReading, why_not_yet

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from launchdeck.domain.errors import Failure
    from launchdeck.domain.gpu import Inventory
    from launchdeck.domain.plan import EngineKind, LaunchPlan
    from launchdeck.domain.request import ModelLoadRequest
    from launchdeck.domain.text import Message
    from launchdeck.engines.adapter import EngineAdapter
    from launchdeck.serving.shim.processes import Process
    from launchdeck.settings.paths import Paths
    from launchdeck.settings.schema import Settings

logger = logging.getLogger(__name__)

ID_BYTES: Final = 4
API_KEY_BYTES: Final = 24
ADOPTION_PATIENCE_S: Final = 3.0
READINGS_WAITED_FOR: Final = 3
MOST_ENDED: Final = 100


class ProcessManager:
    """Lives in one event loop and needs no Qt. The ended ones of this run stay in the list until dismissed, as many as
    MOST_ENDED.
    """

    def __init__(
        self,
        *,
        paths: Paths,
        settings: Callable[[], Settings],
        launcher: ShimLauncher,
        planner: Callable[[ModelLoadRequest, int], LaunchPlan],
        adapters: Mapping[EngineKind, EngineAdapter],
        advise: Callable[[LaunchPlan, Failure], Failure] = lambda _plan, failure: failure,
    ) -> None:
        """`advise` puts into a failure what would help, as far as the planner can tell; it is called in any thread."""
        self._paths = paths
        self._settings = settings
        self._launcher = launcher
        self._planner = planner
        self._adapters = adapters
        self.advise = advise
        self.start_list = StartList(paths.state / "start-with-launchdeck.json")
        self._ports = PortTable(paths.runtime)
        self._ports_in_use: dict[str, int] = {}
        self._supervisors: dict[str, Supervisor] = {}
        self._only_if: dict[str, Callable[[LaunchPlan], Failure | None]] = {}
        self._reading = LatestReading()
        self._inventory: Inventory | None = None
        self._began_at_s = time.time()
        self._naming = asyncio.Lock()
        self._restarting: set[str] = set()
        self._callbacks: list[Callable[[Deployment], None]] = []
        self._forgotten_callbacks: list[Callable[[Deployment], None]] = []
        self._second_look: asyncio.Task[None] | None = None

    @property
    def deployments(self) -> tuple[Deployment, ...]:
        """How everything stands, oldest first."""
        deployments = (supervisor.deployment for supervisor in self._supervisors.values())
        return tuple(sorted(deployments, key=lambda deployment: deployment.created_at_s))

    def subscribe(self, callback: Callable[[Deployment], None]) -> Callable[[], None]:
        """Have every change told, in the event loop's thread. Call what is returned to end that."""
        self._callbacks.append(callback)
        return lambda: self._callbacks.remove(callback)

    def subscribe_forgotten(self, callback: Callable[[Deployment], None]) -> Callable[[], None]:
        """Have it told, in the event loop's thread, when one is not in the list any more."""
        self._forgotten_callbacks.append(callback)
        return lambda: self._forgotten_callbacks.remove(callback)

    def suggest_port(self) -> int | None:
        """The port that the next model would get; None if there is none."""
        return self._ports.suggest(self._settings().ports)

    def log(self, deployment_id: str) -> LogBuffer:
        """Raises LaunchdeckError."""
        return self._find(deployment_id).log

    def api_key(self, deployment_id: str) -> str | None:
        """None: it has no key, or is not reached yet. Raises LaunchdeckError."""
        return self._find(deployment_id).api_key

    def deployment(self, deployment_id: str) -> Deployment:
        """How it stands. Raises LaunchdeckError."""
        return self._find(deployment_id).deployment

    def find(self, deployment_id: str) -> Deployment | None:
        """How it stands; None: there is none, or not any more."""
        supervisor = self._supervisors.get(deployment_id)
        return None if supervisor is None else supervisor.deployment

    def named(self, name: str) -> Deployment | None:
        """The one that a person means, by its id or its model's name: one that lives before one that has ended, then
        the newest.
        """
        named = (d for d in self.deployments if name in {d.id, d.plan.model_id})
        return max(named, key=lambda deployment: (deployment.state.is_live, deployment.created_at_s), default=None)

    async def load(
        self, request: ModelLoadRequest, *, only_if: Callable[[LaunchPlan], Failure | None] = lambda _plan: None
    ) -> Deployment:
        """Start a model, or queue it, and return at once. `only_if` tells by the plan why not to; it is called in any
        thread.

        Raises:
            LaunchdeckError: nothing was started.
        """
        if sys.platform != "linux":
            raise linux_only()
        async with self._naming:
            return self._begin(await self._prepare(request, only_if))

    async def stop(self, deployment_id: str) -> Deployment:
        """How it stands when nothing is left of it. Raises LaunchdeckError if there is no such deployment, or if it
        cannot be ended.
        """
        supervisor = self._find(deployment_id)
        was_live = supervisor.deployment.state.is_live
        await supervisor.stop()
        if was_live and supervisor.remains is not None:
            raise LaunchdeckError(supervisor.remains)
        return supervisor.deployment

    async def stop_all(self) -> None:
        await asyncio.gather(*(supervisor.stop() for supervisor in self._supervisors.values()))

    async def restart(self, deployment_id: str) -> Deployment:
        """The same request once more, as a new deployment in the place of the old one, on its port and under its name.

        It is planned first, as if what the old one holds were free. Raises LaunchdeckError: where the plan fails,
        nothing has changed; where the old one cannot be ended, nothing was started.
        """
        old = self._find(deployment_id).deployment
        name = old.plan.model_id
        if name in self._restarting:
            raise name_in_use(name)
        self._restarting.add(name)
        try:
            started = await self._replace(old) if old.state.is_live else None
        finally:
            self._restarting.remove(name)
        started = started or await self.load(old.plan.request)
        self._find(started.id).take_the_place_of(old)
        if deployment_id in self._supervisors:  # else it was removed while the new one was planned
            self.dismiss(deployment_id)
        return self.deployment(started.id)

    async def _replace(self, old: Deployment) -> Deployment | None:
        """None: it has ended by itself meanwhile. Raises LaunchdeckError."""
        named = replace(old.plan.request, model_id=old.plan.model_id)
        async with self._naming:
            plan = await asyncio.to_thread(self._planner, named, old.plan.port)
        await _refuse(plan, _no_condition)
        now = self.find(old.id)
        if now is None or not now.state.is_live:
            return None
        if now.plan.port != old.plan.port:  # it has lost that to another program
            return await self._replace(now)
        plan = replace(plan, request=old.plan.request)
        successor = Deployment(secrets.token_hex(ID_BYTES), plan, State.QUEUED, created_at_s=time.time())
        self._ports_in_use[successor.id] = self._ports_in_use.pop(old.id)
        try:
            await asyncio.to_thread(note_launch, self._paths.records, successor)
            if self.find(old.id) is not None:
                await self.stop(old.id)
        except BaseException:
            self._ports.release(self._ports_in_use.pop(successor.id))
            self._forget_unstarted(successor.id)
            raise
        return self._begin(self._add(successor, LogBuffer()))

    def _begin(self, supervisor: Supervisor) -> Deployment:
        """Launch it under a key of its own. It tells of itself at once: whoever is planned next has to find its memory
        promised.
        """
        if supervisor.deployment.plan.secret_env and self._settings().model_api_keys:
            supervisor.api_key = secrets.token_urlsafe(API_KEY_BYTES)
        supervisor.launch()
        return supervisor.deployment

    def dismiss(self, deployment_id: str) -> None:
        """Remove an ended deployment with its record and log. Raises LaunchdeckError."""
        deployment = self.deployment(deployment_id)
        if deployment.state.is_live:
            raise still_runs(deployment_id)
        del self._supervisors[deployment_id]
        try:
            self._forget(deployment_id)
        except OSError as error:
            logger.warning("%s", record_stays(self._paths.records / deployment_id, error))
        self._tell(deployment, self._forgotten_callbacks)

    def _dismiss_oldest(self) -> None:
        """Whoever never removes anything keeps the latest ones."""
        ended = [deployment for deployment in self.deployments if not deployment.state.is_live]
        ended.sort(key=lambda deployment: deployment.ended_at_s or deployment.created_at_s)
        for deployment in ended[: max(0, len(ended) - MOST_ENDED)]:
            logger.info(
                "%s (%s) is forgotten with its log: more than %d have ended and were not removed",
                deployment.plan.model_id,
                deployment.id,
                MOST_ENDED,
            )
            self.dismiss(deployment.id)

    async def adopt(self) -> list[Message]:
        """Take over what runs since an earlier run of the application, and tell what has ended since. Gives what was
        not understood, and is left as it is; whose shim lives is looked for once more when its record is mended.
        """
        problems = await self._adopt_recorded()
        for deployment in await asyncio.to_thread(list, read_unstarted(self._paths.records)):
            if deployment.created_at_s < self._began_at_s:
                self._tell(self._add(deployment, LogBuffer()).deployment, self._callbacks)
        if problems:
            self._second_look = asyncio.create_task(self._look_again())
        return problems

    async def _look_again(self) -> None:
        await asyncio.sleep(HEALED_S)
        await self._adopt_recorded()

    async def _adopt_recorded(self) -> list[Message]:
        began_s = time.monotonic()
        problems: list[Message] = []
        records = await asyncio.to_thread(read_records, self._paths.records, problems.append)
        strange = [record for record in records if record.status.id not in self._supervisors]
        adopted = await asyncio.gather(*(self._adopt(record) for record in strange), return_exceptions=True)
        problems += [told for record, outcome in zip(strange, adopted, strict=True) if (told := _told(record, outcome))]
        for problem in problems:
            logger.warning("%s", problem)
        self._dismiss_oldest()
        logger.info("%d models were taken over in %.0f ms", len(strange), (time.monotonic() - began_s) * 1000)
        return problems

    async def _adopt(self, record: Record) -> Message | None:
        log, left = LogBuffer(), []
        try:
            client = await reach(record.status, ADOPTION_PATIENCE_S)
        except NewerShimError:
            return newer_shim(record.plan.model_id).message
        is_hanging = client is None and is_supervised(record.status)
        if client is not None or is_hanging:
            self._ports.adopt(record.plan.port)
            self._ports_in_use[record.status.id] = record.plan.port
        if client is not None:
            supervisor = self._add(recall_live(record, ShimStatus.of(client.status)), log)
            await supervisor.adopt(client)
        elif is_hanging:
            supervisor = self._add(recall_live(record, record.status), log)
            supervisor.adopt_later(record.status)
        else:
            record = read_again(record)
            left = await asyncio.to_thread(clear, record.status, self._paths.sockets)
            adapter = self._adapters[record.plan.engine.kind]
            supervisor = self._add(await asyncio.to_thread(recall_ended, record, adapter, log), log)
        if self._inventory is not None:
            supervisor.observe(self._inventory)
        self._tell(supervisor.deployment, self._callbacks)
        if left:
            return cannot_be_ended(record.plan.model_id, left).message
        return shim_silent(record.plan.model_id) if is_hanging else None

    def observe(self, inventory: Inventory) -> None:
        """What every deployment takes, by the processes of its tree; where its GPUs stand, and which are gone."""
        self._inventory = inventory
        self._reading.note(inventory)
        for supervisor in self._supervisors.values():
            supervisor.observe(inventory)

    # What a supervisor needs

    async def start(self, deployment: Deployment, api_key: str | None) -> Path:
        """Have a shim start it, and give the shim's socket. Raises LaunchdeckError."""
        try:
            self._forget(deployment.id)
        except OSError as error:
            raise launch_failed(error) from error
        await asyncio.to_thread(note_launch, self._paths.records, deployment)
        settings = self._settings()
        spec = build_spec(deployment, api_key=api_key, paths=self._paths, settings=settings, environ=os.environ)
        return await self._launcher.launch(spec)

    def why_not_yet(self, deployment: Deployment) -> Message | None:
        """What its launch has to wait for; None: nothing."""
        return why_not_yet(deployment, self.deployments)

    async def plan_in_turn(self, deployment: Deployment) -> LaunchPlan:
        """The same launch once more, by a reading that knows what the others hold now. Raises LaunchdeckError."""
        patience_s = READINGS_WAITED_FOR * self._settings().sampling_interval_s
        if not await self._reading.after(time.time(), patience_s):
            logger.warning("The GPUs were not read for %s s: %s is planned without", patience_s, deployment.id)
        return await self._plan_again(deployment, deployment.plan.port)

    def recorded(self, deployment_id: str) -> ShimStatus | None:
        """Give what its shim has written down; None where there is nothing that can be read. Blocks."""
        try:
            return read_record(self._paths.records / deployment_id / RECORD_NAME).status
        except (OSError, ValueError):
            return None

    def clear(self, status: ShimStatus, sessions: frozenset[int]) -> list[Process]:
        """Leave nothing of what a shim that died had, and give back what would not die. Blocks."""
        return clear(status, self._paths.sockets, sessions)

    async def plan_on_next_port(self, deployment: Deployment) -> LaunchPlan:
        """The same launch once more: its port went to another program. Raises LaunchdeckError."""
        port = self._reserve()
        self._ports.release(self._ports_in_use[deployment.id])
        self._ports_in_use[deployment.id] = port
        return await self._plan_again(deployment, port)

    async def _plan_again(self, deployment: Deployment, port: int) -> LaunchPlan:
        """The same launch under the name that it has, on the conditions on which it was asked for. Raises
        LaunchdeckError.
        """
        request = deployment.plan.request
        named = replace(request, model_id=deployment.plan.model_id)
        async with self._naming:  # as for a load: what is promised meanwhile is seen
            plan = await asyncio.to_thread(self._planner, named, port)
        await _refuse(plan, self._only_if.get(deployment.id, _no_condition))
        return replace(plan, request=replace(plan.request, model_id=request.model_id))

    async def close(self, *, keep: bool) -> None:
        """Leave every model serving, or stop them all. What has ended is forgotten."""
        if self._second_look is not None:
            self._second_look.cancel()
            await asyncio.gather(self._second_look, return_exceptions=True)
        if keep:
            await asyncio.gather(*(supervisor.detach() for supervisor in self._supervisors.values()))
        else:
            await self.stop_all()
        for deployment in self.deployments:
            if not deployment.state.is_live:
                self.dismiss(deployment.id)
            elif deployment.queued_because is not None:
                self._forget_unstarted(deployment.id)

    async def _prepare(self, request: ModelLoadRequest, only_if: Callable[[LaunchPlan], Failure | None]) -> Supervisor:
        """A deployment that has its port and its name. Raises LaunchdeckError."""
        port = self._reserve()
        try:
            plan = await self._plan(request, port, only_if)
            deployment = Deployment(secrets.token_hex(ID_BYTES), plan, State.QUEUED, created_at_s=time.time())
            await asyncio.to_thread(note_launch, self._paths.records, deployment)
        except BaseException:
            self._ports.release(port)
            raise
        self._ports_in_use[deployment.id] = port
        self._only_if[deployment.id] = only_if
        return self._add(deployment, LogBuffer())

    def _find(self, deployment_id: str) -> Supervisor:
        try:
            return self._supervisors[deployment_id]
        except KeyError:
            raise not_found(deployment_id) from None

    def _add(self, deployment: Deployment, log: LogBuffer) -> Supervisor:
        supervisor = Supervisor(
            deployment,
            log=log,
            adapter=self._adapters[deployment.plan.engine.kind],
            settings=self._settings,
            launches=self,
            changed=self._on_change,
        )
        self._supervisors[deployment.id] = supervisor
        return supervisor

    def _on_change(self, deployment: Deployment) -> None:
        if not deployment.state.is_live:
            port = self._ports_in_use.pop(deployment.id, None)
            self._only_if.pop(deployment.id, None)
            if port is not None:
                self._ports.release(port)
            self._forget_unstarted(deployment.id)
        for supervisor in self._supervisors.values():
            supervisor.stir()
        self._tell(deployment, self._callbacks)
        if not deployment.state.is_live:
            self._dismiss_oldest()

    def _tell(self, deployment: Deployment, callbacks: Sequence[Callable[[Deployment], None]]) -> None:
        for callback in tuple(callbacks):
            try:
                callback(deployment)
            except Exception:
                logger.exception("A listener failed over %s", deployment.id)

    def _forget(self, deployment_id: str) -> None:
        """A launch that failed early has left no folder. Raises OSError."""
        remove_tree(self._paths.records, deployment_id)

    def _forget_unstarted(self, deployment_id: str) -> None:
        """It has ended here, or was told of: the next run has nothing to say about it."""
        folder = self._paths.records / deployment_id
        if is_unstarted(folder):
            try:
                self._forget(deployment_id)
            except OSError as error:
                logger.warning("%s", record_stays(folder, error))

    def _reserve(self) -> int:
        try:
            return self._ports.reserve(self._settings().ports)
        except OSError as error:
            raise launch_failed(error) from error

    async def _plan(
        self, request: ModelLoadRequest, port: int, only_if: Callable[[LaunchPlan], Failure | None]
    ) -> LaunchPlan:
        """A plan that can be started, under a name that no other model has. Raises LaunchdeckError."""
        plan = await asyncio.to_thread(self._planner, request, port)
        live = (deployment.plan.model_id for deployment in self.deployments if deployment.state.is_live)
        names = {*live, *self._restarting}
        if plan.model_id in names:
            if request.model_id is not None:
                raise name_in_use(plan.model_id)
            number = next(n for n in range(2, len(names) + 3) if f"{plan.model_id}-{n}" not in names)
            renamed = replace(request, model_id=f"{plan.model_id}-{number}")
            plan = await asyncio.to_thread(self._planner, renamed, port)
        await _refuse(plan, only_if)
        return plan


def _no_condition(_plan: LaunchPlan) -> Failure | None:
    return None


async def _refuse(plan: LaunchPlan, only_if: Callable[[LaunchPlan], Failure | None]) -> None:
    """Raises LaunchdeckError if this plan cannot be started, or shall not."""
    refusal = plan.blocker or await asyncio.to_thread(only_if, plan)
    if refusal is not None:
        raise LaunchdeckError(refusal)


def _told(record: Record, outcome: Message | BaseException | None) -> Message | None:
    """What there is to say of an adoption. A mistake of ours over one record costs that one alone."""
    if not isinstance(outcome, BaseException):
        return outcome
    if not isinstance(outcome, Exception):
        raise outcome
    logger.error("%s could not be taken over", record.status.id, exc_info=outcome)
    return not_adopted(record.plan.model_id, outcome)
