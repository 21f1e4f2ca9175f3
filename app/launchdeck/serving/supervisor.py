"""One deployment, from launch or adoption to its end: the only writer of its state."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from launchdeck.domain.deployment import Applied, Deployment, Restart, State
from launchdeck.domain.errors import Cause, Failure, LaunchdeckError
from launchdeck.engines.adapter import READY
from launchdeck.serving.deadline import CLEARING_S, Deadline
from launchdeck.serving.failures import cannot_be_ended, ended_by_force, port_taken, supervisor_lost, unexpected
from launchdeck.serving.health.health_watch import HealthWatch
from launchdeck.serving.hearing import Hearing
from launchdeck.serving.lifecycle import Event, next_state
from launchdeck.serving.logs import LogBuffer
from launchdeck.serving.readings import observed
from launchdeck.serving.records.codec import to_json
from launchdeck.serving.records.recall import is_supervised, reach
from launchdeck.serving.restarts import MOST_RESTARTS, Backoff, may_help
from launchdeck.serving.shim_client import ANSWER_TIMEOUT_S, ShimClient
from launchdeck.serving.sockets import holder_of_port
from launchdeck.serving.turns import Turn

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from launchdeck.domain.gpu import Inventory
    from launchdeck.domain.plan import LaunchPlan
    from launchdeck.engines.adapter import EngineAdapter
    from launchdeck.serving.launches import Launches
    from launchdeck.serving.records.records import ShimStatus
    from launchdeck.settings.schema import Settings

logger = logging.getLogger(__name__)

PORT_ATTEMPTS: Final = 3
READINESS_PATIENCE_S: Final = 1.0
READINESS_POLL_S: Final = 0.02


class Supervisor:
    """Lives in the event loop. `changed` is called with every new `deployment`.

    `remains` tells of processes that were killed and are still there; None: there are none.
    """

    def __init__(
        self,
        deployment: Deployment,
        *,
        log: LogBuffer,
        adapter: EngineAdapter,
        settings: Callable[[], Settings],
        launches: Launches,
        changed: Callable[[Deployment], None],
    ) -> None:
        self.deployment = deployment
        self.log = log
        self.api_key: str | None = None
        self.remains: Failure | None = None
        self._hearing = Hearing(self, adapter, log)
        self._settings = settings
        self._launches = launches
        self._changed = changed
        self._client: ShimClient | None = None
        self._policy: str | None = None
        self._stop_asked = asyncio.Event()
        self._backoff = Backoff()
        self._ready_at_s: float | None = None  # monotonic
        self._failure: Failure | None = None  # why it is being ended, where nobody has asked for that
        self._attached = asyncio.Event()
        self._deadline = Deadline()
        self._turn = Turn(launches, self._stop_asked)
        self._task: asyncio.Task[None] | None = None

    # What the manager does with it

    def launch(self) -> None:
        """Start the model, or queue it until it is its turn."""
        reason = self._launches.why_not_yet(self.deployment)
        if reason is None:
            self.change(Event.LAUNCH)
            life = self._launch()
        else:
            self.change(queued_because=reason)
            life = self._launch_in_turn()
        self._task = asyncio.create_task(self._run(life))

    def take_the_place_of(self, earlier: Deployment) -> None:
        """Count as one more start of it."""
        self.change(restarts=earlier.restarts + 1)

    def stir(self) -> None:
        """Something has changed: it may be its turn now."""
        self._turn.stir()

    async def adopt(self, client: ShimClient) -> None:
        """Take over a model that was launched by another run of the application. Returns when its state is known."""
        self._ready_at_s = None if self.deployment.ready_at_s is None else time.monotonic()
        self._task = asyncio.create_task(self._run(self._supervise(client)))
        await self._until_attached()  # one that hangs meanwhile is shown as its record has it

    def adopt_later(self, status: ShimStatus) -> None:
        """Its shim lives and does not answer, say because its disk hangs: take it over as soon as it does."""
        self._hearing.status = status
        self._ready_at_s = None if self.deployment.ready_at_s is None else time.monotonic()
        self._attached.set()  # a quit leaves it as it is
        self._task = asyncio.create_task(self._run(self._supervise_later(status)))

    async def stop(self) -> None:
        """Returns when nothing is left of it."""
        if self._task is None or self._task.done():
            return
        self._stop_asked.set()
        self.stir()
        if self.deployment.state is not State.STOPPING:
            self._failure = None  # a lost port does not count any more
            self.change(Event.STOP, queued_because=None)
        await self._tell_stop()
        await asyncio.wait({self._task})

    async def detach(self) -> None:
        """Let it serve on without us."""
        if self._task is None or self._task.done():
            return
        await self._until_attached()
        if self.deployment.queued_because is not None:
            logger.warning("%s was still queued and is not started", self.deployment.plan.model_id)
        if self._client is not None:
            try:
                await self._client.ask("release")
            except ConnectionError:
                logger.warning("The supervisor of %s is gone", self.deployment.id)
        self._task.cancel()
        await asyncio.wait({self._task})

    def observe(self, inventory: Inventory) -> None:
        """A new reading of all devices."""
        self.change(**observed(self.deployment, inventory))

    # What the health watch sees, and what is heard from the shim

    @property
    def last_sign_s(self) -> float:
        """When the engine last said anything (monotonic seconds)."""
        return self._hearing.last_sign_s

    def is_loading(self) -> bool:
        return self.deployment.state in {State.STARTING, State.LOADING} and not self.is_ending()

    def is_ending(self) -> bool:
        return self._failure is not None or self.deployment.state is State.STOPPING or not self.deployment.state.is_live

    def misplaced(self) -> Failure | None:
        """The engine says that it has taken a GPU for another one; None where it has not."""
        return self._hearing.misplaced()

    async def fresh_pids(self) -> tuple[int, ...]:
        """The engine's tree at this moment. Raises ConnectionError."""
        if self._client is not None:
            self._hearing.take_status((await self._client.ask("status"))["status"])
        return self.deployment.pids

    async def be_ready(self) -> None:
        ready_at_s = time.time()
        self._ready_at_s = time.monotonic()
        await self._hear_readiness()
        if self.is_ending():
            return
        failure = self.misplaced()
        if failure is not None:
            await self.give_up(failure)
            return
        self.change(Event.READY, ready_at_s=ready_at_s, progress=None, stage=None)
        if self._client is not None:
            await self._client.ask("note", note={"ready_at_s": ready_at_s})

    async def _hear_readiness(self) -> None:
        """Whoever sees a model running shall find in `applied` all that it said until then. The log takes its own way,
        and may be a moment behind the health check; an engine that never says it is ready is not waited for long.
        """
        until_s = time.monotonic() + READINESS_PATIENCE_S
        while self._hearing.findings.stage != READY and time.monotonic() < until_s and not self.is_ending():
            await self.fresh_pids()  # the shim sends all it has before it answers, or right after
            await asyncio.sleep(READINESS_POLL_S)

    async def give_up(self, failure: Failure) -> None:
        """End it; it is failed when nothing is left. A port that was lost leads to another attempt instead."""
        self._failure = failure
        if failure.cause is not Cause.PORT_TAKEN:
            self.change(Event.STOP)
            await self._note(failure)
        await self._tell_stop()

    async def _note(self, failure: Failure) -> None:
        """Have it kept for the next application. A shim that hangs cannot; the stop is carried out all the same."""
        if self._client is not None:
            try:
                await self._client.ask("note", note={"failure": to_json(failure)})
            except ConnectionError as error:
                logger.warning("Why %s ends is not on record: %s", self.deployment.id, error)

    async def keep_policy(self) -> None:
        """Hand on what the setting says now."""
        policy = self._settings().when_app_dies
        if self._client is not None and policy != self._policy:
            self._policy = policy
            await self._client.ask("hold", when_app_dies=policy)

    def hear(self, *, answers: bool) -> None:
        state = self.deployment.state
        if answers and state is State.UNRESPONSIVE:
            self.change(Event.ANSWERED)
        elif not answers and state is State.RUNNING:
            self.change(Event.MISSED)

    # The life of a deployment

    def change(self, event: Event | None = None, **changes: Any) -> None:
        """Raises ValueError if the event cannot happen now."""
        if event is not None:
            changes["state"] = next_state(self.deployment.state, event)
        changed = replace(self.deployment, **changes)
        if changed != self.deployment:
            self.deployment = changed
            self._changed(changed)

    async def _run(self, life: Awaitable[Failure | None]) -> None:
        """To the end, which is never an exception; with as many lives as the settings allow."""
        failure = await self._outcome(life)
        while (pause_s := self._pause_before_restart_s(failure)) is not None:
            await self._wait_for_restart(pause_s)
            if self._stop_asked.is_set():
                break
            self.change(restarts=self.deployment.restarts + 1)
            failure = await self._outcome(self._launch_in_turn())
        self._finish(await self._advised(failure))

    def _pause_before_restart_s(self, failure: Failure | None) -> float | None:
        """None: it is not started again."""
        settings = self._settings()
        if failure is None or settings.restart == "never" or self._stop_asked.is_set() or self.remains is not None:
            return None
        if self.deployment.state in {State.QUEUED, State.STOPPING}:  # it did not come to a launch, or shall end
            return None
        if not may_help(failure, is_recognised=self._hearing.is_recognised):
            return None
        served_s = 0.0 if self._ready_at_s is None else time.monotonic() - self._ready_at_s
        return self._backoff.next_pause_s(settings.restart_pause_s, served_s)

    async def _wait_for_restart(self, pause_s: float) -> None:
        """Say every second how long it still takes. A stop ends it at once."""
        self._attached.set()  # there is nothing now that a quit would have to wait for
        self._ready_at_s = None
        unmeasured: dict[str, Any] = {"rss_bytes": None, "own_ram_bytes": None, "vram_bytes": None}
        self.change(Event.RETRY, ready_at_s=None, progress=None, stage=None, pids=(), **unmeasured)
        until_s = time.monotonic() + pause_s
        while (left_s := until_s - time.monotonic()) > 0 and not self._stop_asked.is_set():
            self.change(restart=Restart(self._backoff.restarts, MOST_RESTARTS, math.ceil(left_s)))
            try:
                await asyncio.wait_for(self._stop_asked.wait(), min(left_s, 1.0))
            except TimeoutError:
                continue
        self.change(restart=None)

    async def _outcome(self, life: Awaitable[Failure | None]) -> Failure | None:
        """Why this life ended; None as asked. Whatever goes wrong on the way is a failure too: a row that stays as it
        was would be a lie for ever.
        """
        try:
            return await self._lived(life)
        except Exception as error:
            logger.exception("The end of %s could not be cleared up", self.deployment.id)
            return unexpected(error)

    async def _lived(self, life: Awaitable[Failure | None]) -> Failure | None:
        try:
            return await life
        except LaunchdeckError as error:
            return error.failure
        except ConnectionError as error:
            logger.warning("The supervisor of %s is gone: %s", self.deployment.id, error)
            return await self._lose()
        except Exception as error:
            logger.exception("The supervision of %s failed", self.deployment.id)
            await self._sweep()
            return unexpected(error)

    async def _advised(self, failure: Failure | None) -> Failure | None:
        """What would help is tried out on the planner; that it cannot be costs the advice alone."""
        if failure is None:
            return None
        try:
            return await asyncio.to_thread(self._launches.advise, self.deployment.plan, failure)
        except Exception:
            logger.exception("No advice for %s", self.deployment.id)
            return failure

    def _finish(self, failure: Failure | None) -> None:
        if self._stop_asked.is_set() and self._failure is None:
            failure = None  # whatever it was, it did not hinder the stop
        if failure is None and self.deployment.state is not State.STOPPING:
            self.change(Event.STOP)
        self.change(
            Event.ENDED if failure is None else Event.FAILED,
            failure=failure,
            exit=self._hearing.status and self._hearing.status.exit,
            ended_at_s=time.time(),
            queued_because=None,
            progress=None,
            stage=None,
            pids=(),
            rss_bytes=None,
            own_ram_bytes=None,
            vram_bytes=None,
        )

    async def _launch_in_turn(self) -> Failure | None:
        plan: LaunchPlan | None = self.deployment.plan
        was_queued = self.deployment.queued_because is not None  # what is free has changed meanwhile
        if was_queued or self._launches.why_not_yet(self.deployment) is not None:
            self._attached.set()  # there is nothing that a quit would have to wait for
            plan = await self._turn.plan(lambda: self.deployment, lambda reason: self.change(queued_because=reason))
        if plan is None:
            return None
        self._begin_again(plan)
        return await self._launch()

    async def _launch(self) -> Failure | None:
        for attempts_left in reversed(range(PORT_ATTEMPTS)):
            path = await self._launches.start(self.deployment, self.api_key)
            failure = await self._supervise(await ShimClient.connect(path))
            if not attempts_left or not self._may_retry(failure):
                break
            plan = await self._launches.plan_on_next_port(self.deployment)
            if not self._may_retry(failure):  # a stop was asked for meanwhile
                break
            self._begin_again(plan)
        if failure is not None and failure.cause is Cause.PORT_TAKEN:
            plan = self.deployment.plan
            holder = await asyncio.to_thread(holder_of_port, plan.host, plan.port)
            taken = port_taken(plan.port, holder, self._launches.suggest_port())
            return replace(taken, evidence=failure.evidence)
        return failure

    def _may_retry(self, failure: Failure | None) -> bool:
        return failure is not None and failure.cause is Cause.PORT_TAKEN and not self._stop_asked.is_set()

    def _begin_again(self, plan: LaunchPlan) -> None:
        self._failure = None
        self._hearing.begin_again()
        self._attached.clear()
        self._deadline = Deadline()
        self.change(Event.LAUNCH, plan=plan, progress=None, stage=None, applied=Applied(), queued_because=None)

    async def _supervise(self, client: ShimClient) -> Failure | None:
        """Stay with this shim until its engine is gone, or it has to be given up; say why it went, None if as asked."""
        ended = asyncio.get_running_loop().create_future()
        listening = client.listen(lambda event: self._hearing.on_event(event, ended))
        self._client = client
        self._hearing.begin(client.status)
        working = asyncio.create_task(self._work(client))
        overdue = asyncio.create_task(self._deadline.passed())
        try:
            done, _ = await asyncio.wait({ended, listening, working, overdue}, return_when=asyncio.FIRST_COMPLETED)
            if working in done:
                working.result()  # a mistake of ours ends the supervision here
                await asyncio.wait({ended, listening, overdue}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._client = None
            working.cancel()
            overdue.cancel()
            await asyncio.gather(working, overdue, return_exceptions=True)
            await client.close()
        return self._explain() if ended.done() else await self._lose()

    async def _supervise_later(self, status: ShimStatus) -> Failure | None:
        while (client := await reach(status)) is None:
            if self._stop_asked.is_set() or not is_supervised(status):
                return await self._lose()
        self._attached.clear()
        return await self._supervise(client)

    async def _work(self, client: ShimClient) -> None:
        """What is asked of the shim while its engine lives. One that is slow to answer, say because its disk hangs,
        is asked again; that it is gone is told to who listens.
        """
        while client.is_open:
            try:
                await self._greet(client)
                await HealthWatch(self, self._settings).run()
            except ConnectionError as error:
                if client.is_open:
                    logger.warning("The supervisor of %s is slow: %s", self.deployment.id, error)
            else:
                return

    async def _greet(self, client: ShimClient) -> None:
        self._policy = self._settings().when_app_dies
        await client.ask("hold", when_app_dies=self._policy)
        self.api_key = (await client.ask("secrets"))["secrets"].get("api_key")
        await client.ask("follow", offset=self._hearing.log_offset)
        if self.is_ending():
            await self._tell_stop()
        elif self.deployment.state is State.RUNNING:  # adopted
            await self._hear_readiness()
            self._tell_misplaced()
        self._attached.set()

    def _tell_misplaced(self) -> None:
        """A model that serves is not stopped for it."""
        failure, plan = self.misplaced(), self.deployment.plan
        if failure is not None and failure.message not in plan.warnings:
            logger.warning("%s: %s", plan.model_id, failure.message)
            self.change(plan=replace(plan, warnings=(*plan.warnings, failure.message)))

    async def _until_attached(self) -> None:
        if self._task is None:
            return
        attached = asyncio.create_task(self._attached.wait())
        await asyncio.wait({self._task, attached}, timeout=ANSWER_TIMEOUT_S, return_when=asyncio.FIRST_COMPLETED)
        attached.cancel()

    async def _tell_stop(self) -> None:
        """While it is still being launched, `_work` will do it."""
        if self._client is None:
            return
        grace_s, deadline = self._settings().stop_grace_s, self._deadline
        try:
            await self._client.ask("stop", grace_s=grace_s)
        except ConnectionError as error:
            logger.warning("The supervisor of %s does not stop it: %s", self.deployment.id, error)
            deadline.set_in(0)
        else:
            deadline.set_in(grace_s + CLEARING_S)

    def _explain(self) -> Failure | None:
        """Why the engine is gone, now that its shim has told how it went."""
        return self._failure or self._hearing.explain()

    async def _lose(self) -> Failure | None:
        """The shim is gone without a word, or hangs and is given up."""
        is_forced = self.is_ending() and self._hearing.status is not None and is_supervised(self._hearing.status)
        await self._sweep()
        if is_forced:
            logger.warning("%s: %s", self.deployment.plan.model_id, ended_by_force())
            self.change(ended_how=ended_by_force())
        return self._failure or supervisor_lost()

    async def _sweep(self) -> None:
        """Leave nothing of it, whoever has died or hangs."""
        status = self._hearing.status or await asyncio.to_thread(self._launches.recorded, self.deployment.id)
        if status is None:
            return
        engine = status.engine
        session = frozenset(() if engine is None else (engine[0],))
        left = await asyncio.to_thread(self._launches.clear, status, session)
        if left:
            logger.error("%s left processes that cannot be killed: %s", self.deployment.id, left)
            self._failure = self.remains = cannot_be_ended(self.deployment.plan.model_id, left)
