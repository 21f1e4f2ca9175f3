"""Finding engines and models beside the window, and telling the window what was found."""

from __future__ import annotations

import asyncio
import logging

from PySide6.QtCore import QObject, Signal

from launchdeck.domain.model import ModelInfo
from launchdeck.domain.text import Message
from launchdeck.engines.find import find_engines
from launchdeck.engines.planner import Planner
from launchdeck.files.apart import run_apart
from launchdeck.models.library import Library
from launchdeck.settings.schema import Settings
from launchdeck.settings.setup import Setup
from launchdeck.ui.deploy.deploy_form import DeployForm

logger = logging.getLogger(__name__)

_WATCH_INTERVAL_S = 2.0


class Discovery(QObject):
    """Looks in threads that are given up where a place does not answer; the window goes on meanwhile. `models_found`
    and `engines_found` carry tuples, `silent_found` one of what to tell about places that have ceased to answer.
    """

    models_found = Signal(object)
    engines_found = Signal(object)
    silent_found = Signal(object)

    def __init__(self, planner: Planner, form: DeployForm, setup: Setup) -> None:
        super().__init__()
        self._planner = planner
        self._form = form
        self._setup = setup
        self._library = Library()
        self._silent: tuple[Message, ...] = ()
        self._scanning = asyncio.Lock()
        self._searches = 0
        self.models: tuple[ModelInfo, ...] = ()
        self.problems: tuple[Message, ...] = ()
        self.models_found.connect(form.set_models)
        self.engines_found.connect(form.set_engines)

    async def look(self) -> None:
        """Look for engines and models, at the start and whenever the settings have changed."""
        settings = self._setup.settings
        self._form.set_rpc_workers(settings.rpc_workers)
        await asyncio.gather(self._find_engines(settings), self._find_models(settings))

    async def watch(self) -> None:
        """Look for models again whenever one came or went; for as long as the window is there."""
        while True:
            await asyncio.sleep(_WATCH_INTERVAL_S)
            try:
                await self._look_again()
            except Exception:
                logger.exception("the folders with models could not be watched")

    async def _look_again(self) -> None:
        async with self._scanning:
            changed = await run_apart(self._library.has_changed)
        if changed:
            await self._find_models(self._setup.settings)

    async def _find_engines(self, settings: Settings) -> None:
        self._searches += 1
        search = self._searches
        found = await run_apart(lambda: find_engines(settings, self._setup.paths))
        if search != self._searches:  # a later one was begun, by settings that are newer
            return
        self._planner.engines = found.engines
        self.problems = found.problems
        self.engines_found.emit(found.engines)

    async def _find_models(self, settings: Settings) -> None:
        """The first time, what is found is shown while there is more to come: a big library takes its seconds."""
        loop = asyncio.get_running_loop()
        is_first = not self.models

        def show(models: tuple[ModelInfo, ...]) -> None:
            if is_first:
                loop.call_soon_threadsafe(self._show_models, models)

        async with self._scanning:
            self._show_models(await run_apart(lambda: self._library.look(settings, self._setup.paths, show)))
            silent = self._library.silent
        if fresh := [problem for problem in silent if problem not in self._silent]:
            self.silent_found.emit(tuple(fresh))
        self._silent = silent

    def _show_models(self, models: tuple[ModelInfo, ...]) -> None:
        self.models = models
        self._planner.see_models(models)
        self.models_found.emit(models)
