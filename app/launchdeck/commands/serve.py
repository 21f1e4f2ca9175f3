"""`launchdeck serve`: everything but the window, for servers and for systemd."""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
from contextlib import nullcontext
from typing import TYPE_CHECKING

from launchdeck.api.address import url_file
from launchdeck.api.client import ApiClient
from launchdeck.api.opening import open_api
from launchdeck.commands import systemd
from launchdeck.compose import in_console, leave_nothing_behind, setup_of
from launchdeck.domain.errors import Cause, LaunchdeckError
from launchdeck.domain.text import Message
from launchdeck.ending import Ending
from launchdeck.engines.find import find_engines
from launchdeck.settings.instance import SERVE, Instance, does_not_answer

if TYPE_CHECKING:
    from launchdeck.api.server import ApiServer
    from launchdeck.core import Core
    from launchdeck.domain.deployment import Deployment, State
    from launchdeck.domain.errors import Failure
    from launchdeck.domain.gpu import Inventory
    from launchdeck.monitor.sampler import Sampler
    from launchdeck.settings.paths import Paths

logger = logging.getLogger(__name__)

_ADOPTION_S = 2.0


def run(options: argparse.Namespace) -> int:
    """Serve until a signal comes, or a window takes over. Ends with 1 where Launchdeck runs already."""
    ending = Ending()
    ending.listen()
    setup = setup_of(options)
    if not setup.settings.api_enabled and setup.asked_api_port is None:
        raise LaunchdeckError.of(
            Cause.BAD_REQUEST,
            Message("'launchdeck serve' is nothing without the HTTP interface, which is switched off in the settings."),
            Message("Switch it on there, or start with --api-port N for this run."),
        )
    instance = Instance(setup.paths)  # holds its lock for as long as it lives
    if not instance.acquire(SERVE):
        raise _runs_already(setup.paths, instance)
    leave_nothing_behind(ending, setup, instance)
    _log_to_journal()
    return in_console(setup, lambda core: Service(core, ending).run(), ending)


def _runs_already(paths: Paths, instance: Instance) -> LaunchdeckError:
    """One that has no interface, or none yet, is not asked."""
    running, holder = ApiClient.find(paths), instance.holder()
    if running is None and holder is not None and url_file(paths).exists():
        return does_not_answer(holder[1])
    message = Message("Launchdeck runs already.")
    if running is not None:
        message = Message("Launchdeck runs already, at {url}.", url=running.url)
    return LaunchdeckError.of(Cause.CONFLICT, message, Message("Use it, or end it first."))


class Service:
    """One run, from adopting what runs already to letting go of it."""

    def __init__(self, core: Core, ending: Ending) -> None:
        self._core = core
        self._ending = ending
        self._quit = asyncio.Event()
        self._keep_models = core.setup.settings.on_quit != "stop"
        self._states: dict[str, State] = {}
        self._api: ApiServer | None = None
        self._starting: asyncio.Task[list[Failure]] | None = None

    async def run(self) -> int:
        """To the end that is asked for, also in the middle of a beginning that is held up. Raises LaunchdeckError."""
        from launchdeck.monitor.sampler import Sampler  # noqa: PLC0415 (Qt)

        core = self._core
        self._ending.call(self._quit.set)
        loop = asyncio.get_running_loop()

        def on_sample(inventory: Inventory) -> None:
            loop.call_soon_threadsafe(core.observe, inventory)

        sampler = Sampler(core.open_source, core.setup.settings.sampling_interval_s, on_sample=on_sample)
        core.manager.subscribe(self._log_change)
        core.manager.subscribe_forgotten(self._forget)
        adopted = asyncio.Event()
        beginning = asyncio.create_task(self._begin(sampler, adopted))
        asked = asyncio.create_task(self._quit.wait())
        try:
            await asyncio.wait({beginning, asked}, return_when=asyncio.FIRST_COMPLETED)
            if beginning.done():
                beginning.result()
                await asked
            elif not self._keep_models:  # those that are not taken over yet are to be stopped as well
                await asyncio.wait({beginning, asyncio.ensure_future(adopted.wait())}, timeout=_ADOPTION_S)
        finally:
            self._ending.begin()
            beginning.cancel()
            await asyncio.gather(beginning, return_exceptions=True)
            await self._end(sampler)
        logger.info("ended; the models %s", "serve on" if self._keep_models else "are stopped")
        return 0

    async def _begin(self, sampler: Sampler, adopted: asyncio.Event) -> None:
        """Ready when the HTTP interface answers; the devices and engines may still be looked for then."""
        core = self._core
        await core.adopt()
        adopted.set()
        self._api = await open_api(core.setup, core.planner, core.manager, hand_over=self._hand_over)
        core.subscribe_inventory(self._api.backend.on_inventory)
        sampler.start()
        await self._find_engines()
        systemd.notify("READY=1\nSTATUS=" + self._api.url)
        self._starting = asyncio.create_task(core.start_marked())

    async def _end(self, sampler: Sampler) -> None:
        """Nobody gets in any more, then the models, then what may take a moment."""
        core = self._core
        systemd.notify("STOPPING=1")
        if self._starting is not None:
            self._starting.cancel()
            await asyncio.gather(self._starting, return_exceptions=True)
        if self._api is not None:
            await self._api.close()
        with nullcontext() if self._keep_models else self._ending.patient():
            await core.manager.close(keep=self._keep_models)
        sampler.stop()
        await core.close(keep=self._keep_models)

    async def _find_engines(self) -> None:
        found = await asyncio.to_thread(find_engines, self._core.setup.settings, self._core.setup.paths)
        self._core.planner.engines = found.engines
        for problem in found.problems:
            logger.warning("%s", problem)

    def _log_change(self, deployment: Deployment) -> None:
        if self._states.get(deployment.id) is deployment.state:
            return
        self._states[deployment.id] = deployment.state
        plan = deployment.plan
        logger.info("%s (%s) on port %d: %s", plan.model_id, deployment.id, plan.port, deployment.state)
        if deployment.failure is not None:
            logger.warning("%s: %s", plan.model_id, deployment.failure)

    def _forget(self, deployment: Deployment) -> None:
        self._states.pop(deployment.id, None)

    async def _hand_over(self) -> bool:
        """The models are let go before the answer goes out, so that the window can adopt them at once."""
        logger.info("a window takes over")
        self._keep_models = True
        await self._core.manager.close(keep=True)
        self._quit.set()
        return True


def _log_to_journal() -> None:
    """What we have to say is said; of the libraries only what is wrong."""
    if systemd.writes_to_journal(sys.stderr):
        for handler in logging.getLogger().handlers:
            handler.setFormatter(systemd.JournalFormatter())
    logging.getLogger("launchdeck").setLevel(min(logging.INFO, logging.getLogger().level))
