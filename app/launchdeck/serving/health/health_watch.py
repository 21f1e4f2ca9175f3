"""Asks one engine how it is for as long as it lives: when it is ready, when it hangs, when loading leads nowhere."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Final, Protocol

from launchdeck.serving.failures import port_taken, stalled, took_too_long
from launchdeck.serving.health.health import ask_health, ask_question
from launchdeck.serving.health.readiness import Owner, owner_of_port
from launchdeck.serving.health.work import WorkMeter

if TYPE_CHECKING:
    from collections.abc import Callable

    from launchdeck.domain.deployment import Deployment
    from launchdeck.domain.errors import Failure
    from launchdeck.settings.schema import Settings

FIRST_PROBE_S: Final = 0.05
LOADING_PROBE_MAX_S: Final = 0.2
PROBE_TIMEOUT_MIN_S: Final = 1.0
MISSES_ALLOWED: Final = 3
HTTP_OK: Final = 200


class Watched(Protocol):
    """What the watch needs of a supervisor. `last_sign_s`: when the engine last said anything (monotonic seconds)."""

    deployment: Deployment
    api_key: str | None

    @property
    def last_sign_s(self) -> float: ...
    def is_loading(self) -> bool: ...
    def is_ending(self) -> bool: ...
    async def fresh_pids(self) -> tuple[int, ...]: ...
    async def be_ready(self) -> None: ...
    async def give_up(self, failure: Failure) -> None: ...
    async def keep_policy(self) -> None: ...
    def hear(self, *, answers: bool) -> None: ...
    def misplaced(self) -> Failure | None: ...


class HealthWatch:
    """Clocks are monotonic: they stand still while the machine sleeps, so nothing times out on waking up."""

    def __init__(self, watched: Watched, settings: Callable[[], Settings]) -> None:
        self._watched = watched
        self._settings = settings
        self._since_s = time.monotonic()
        self._last_code: int | None = None
        self._asked_at_s = 0.0
        self._asked_before_s = 0.0
        self._misses = 0
        self._work = WorkMeter()
        self._worked_at_s = self._since_s
        self._question = Question(watched, settings)

    async def run(self) -> None:
        """Until cancelled. Raises ConnectionError when the shim has gone."""
        try:
            await self._watch()
        finally:
            self._question.cancel()

    async def _watch(self) -> None:
        delay_s = FIRST_PROBE_S
        while True:
            await asyncio.sleep(delay_s)
            if self._watched.is_ending():
                return
            is_loading = self._watched.is_loading()
            code = await self._ask()
            if self._watched.is_ending():
                return
            if is_loading:
                await self._judge_loading(code)
                await self._judge_devices()
            else:
                self._judge_running(code)
            await self._watched.keep_policy()
            probe_s = LOADING_PROBE_MAX_S if self._watched.is_loading() else self._settings().probe_interval_s
            delay_s = min(2 * delay_s, probe_s) if is_loading else probe_s

    async def _ask(self) -> int | None:
        plan = self._watched.deployment.plan
        self._asked_before_s, self._asked_at_s = self._asked_at_s, time.monotonic()
        return await ask_health(plan.host, plan.port, max(PROBE_TIMEOUT_MIN_S, self._settings().probe_interval_s))

    async def _judge_loading(self, code: int | None) -> None:
        """Whose answer it is costs a look at the kernel's tables: only when the answer is new, or says ready."""
        is_news = code is not None and (code == HTTP_OK or code != self._last_code)
        self._last_code = code
        if is_news:
            await self._judge_answer(is_ready=code == HTTP_OK)
        if self._watched.is_loading():
            await self._judge_patience()

    async def _judge_answer(self, *, is_ready: bool) -> None:
        """An answer proves nothing about our engine, unless the listening socket is its own."""
        plan = self._watched.deployment.plan
        pids = await self._watched.fresh_pids()
        owner = await asyncio.to_thread(owner_of_port, plan.host, plan.port, pids)
        if self._watched.is_ending():
            return
        if owner is Owner.FOREIGN:
            await self._watched.give_up(port_taken(plan.port))
        elif owner is Owner.OURS and is_ready:
            await self._watched.be_ready()

    async def _judge_devices(self) -> None:
        """A model that loads where it was not meant to is not let go on; one that was adopted serving is."""
        failure = self._watched.misplaced() if self._watched.is_loading() else None
        if failure is not None:
            await self._watched.give_up(failure)

    async def _judge_patience(self) -> None:
        """Any output and any work extends the stall timeout, nothing the hard cap."""
        settings = self._settings()
        if time.monotonic() - self._since_s > settings.load_timeout_s:
            await self._watched.give_up(took_too_long(settings.load_timeout_s))
            return
        await self._look_for_work(settings.stall_timeout_s)
        if self._watched.is_loading() and self._silent_s() > settings.stall_timeout_s:
            await self._watched.give_up(stalled(settings.stall_timeout_s))

    def _silent_s(self) -> float:
        """How long there has been no sign of life."""
        return time.monotonic() - max(self._since_s, self._watched.last_sign_s, self._worked_at_s)

    async def _look_for_work(self, stall_timeout_s: float) -> None:
        """Who works may have been born since the tree was told last: where it matters, ask."""
        if not self._work.is_due:
            return
        if self._silent_s() > stall_timeout_s / 2:
            with contextlib.suppress(ConnectionError):  # a hanging shim puts off no verdict
                await self._watched.fresh_pids()
        if self._work.is_at_work(self._watched.deployment.pids):
            self._worked_at_s = time.monotonic()

    def _judge_running(self, code: int | None) -> None:
        """An engine that is too busy to answer, but still writes its log, does not hang."""
        is_alive = code == HTTP_OK or self._watched.last_sign_s > self._asked_before_s
        self._misses = 0 if is_alive else self._misses + 1
        if self._question.is_unanswered():
            self._watched.hear(answers=False)
        elif code == HTTP_OK or self._misses >= MISSES_ALLOWED:
            self._watched.hear(answers=code == HTTP_OK)


class Question:
    """Asks a running model for one token from time to time, where the settings want that: an engine may hang although
    its health check answers. One that is asked so much that ours has to wait writes its log, and does not hang.
    """

    def __init__(self, watched: Watched, settings: Callable[[], Settings]) -> None:
        self._watched = watched
        self._settings = settings
        self._asking: asyncio.Task[int | None] | None = None
        self._asked_at_s = time.monotonic()
        self._is_unanswered = False

    def is_unanswered(self) -> bool:
        """Whether the last one had no answer until the next was due. Asks the next when it is."""
        interval_s = self._settings().question_interval_s
        if not interval_s:
            self.cancel()
            return False
        if self._asking is not None and self._asking.done():
            was_silent = self._watched.last_sign_s < self._asked_at_s
            self._is_unanswered = self._asking.result() is None and was_silent
            self._asking = None
        now_s = time.monotonic()
        if self._asking is None and now_s - self._asked_at_s >= interval_s:
            self._asked_at_s = now_s
            self._asking = asyncio.create_task(self._ask(interval_s))
        return self._is_unanswered

    async def _ask(self, timeout_s: float) -> int | None:
        plan = self._watched.deployment.plan
        key, server_type = self._watched.api_key, plan.request.server_type
        return await ask_question(
            plan.host, plan.port, timeout_s, api_key=key, model_id=plan.model_id, server_type=server_type
        )

    def cancel(self) -> None:
        """Ask no more."""
        self._is_unanswered = False
        if self._asking is not None:
            self._asking.cancel()
            self._asking = None
