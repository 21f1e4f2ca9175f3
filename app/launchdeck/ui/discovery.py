"""Finding engines and models beside the window, and telling the window what was found."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from PySide6.QtCore import QObject, Signal

from launchdeck.domain.model import ModelInfo
from launchdeck.domain.text import Message
from launchdeck.engines.find import find_engines
from launchdeck.engines.planner import Planner
from launchdeck.models.library import by_name, places
from launchdeck.models.scan import Scanner
from launchdeck.settings.schema import Settings
from launchdeck.settings.setup import Setup
from launchdeck.ui.deploy_form import DeployForm

_WATCH_INTERVAL_S = 2.0
_FIRST_LIST_S = 0.3
_NEXT_LIST_S = 2.0


class Discovery(QObject):
    """Looks in worker threads; the window goes on meanwhile. `models_found` and `engines_found` carry tuples."""

    models_found = Signal(object)
    engines_found = Signal(object)

    def __init__(self, planner: Planner, form: DeployForm, setup: Setup) -> None:
        super().__init__()
        self._planner = planner
        self._form = form
        self._setup = setup
        self._scanner = Scanner()
        self._scanning = asyncio.Lock()
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
            async with self._scanning:
                changed = await asyncio.to_thread(self._scanner.has_changed)
            if changed:
                await self._find_models(self._setup.settings)

    async def _find_engines(self, settings: Settings) -> None:
        found = await asyncio.to_thread(find_engines, settings, self._setup.paths)
        self._planner.engines = found.engines
        self.problems = found.problems
        self.engines_found.emit(found.engines)

    async def _find_models(self, settings: Settings) -> None:
        """The first time, what is found is shown while there is more to come: a big library takes its seconds."""
        loop = asyncio.get_running_loop()

        def show(models: tuple[ModelInfo, ...]) -> None:
            loop.call_soon_threadsafe(self._show_models, models)

        async with self._scanning:
            progress = None if self.models else show
            self._show_models(await asyncio.to_thread(self._scan, settings, progress))

    def _scan(self, settings: Settings, show: Callable[[tuple[ModelInfo, ...]], None] | None) -> tuple[ModelInfo, ...]:
        folders, files = places(settings, self._setup.paths)
        models: list[ModelInfo] = []
        show_at_s = time.monotonic() + _FIRST_LIST_S
        for model in self._scanner.scan(folders, extra=files):
            models.append(model)
            if show is not None and time.monotonic() > show_at_s:
                show(by_name(models))
                show_at_s = time.monotonic() + _NEXT_LIST_S
        return by_name(models)

    def _show_models(self, models: tuple[ModelInfo, ...]) -> None:
        self.models = models
        self.models_found.emit(models)
