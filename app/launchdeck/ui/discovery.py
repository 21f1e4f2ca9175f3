"""Finding engines and models beside the window, and telling the window what was found."""

from __future__ import annotations

import asyncio

from launchdeck.domain.model import ModelInfo
from launchdeck.domain.text import Message
from launchdeck.engines.find import find_engines
from launchdeck.engines.planner import Planner
from launchdeck.models.library import known_models
from launchdeck.settings.schema import Settings
from launchdeck.settings.setup import Setup
from launchdeck.ui.deploy_form import DeployForm


class Discovery:
    """Looks in worker threads; the window goes on meanwhile."""

    def __init__(self, planner: Planner, form: DeployForm, setup: Setup) -> None:
        self._planner = planner
        self._form = form
        self._setup = setup
        self.problems: tuple[Message, ...] = ()

    async def look(self) -> None:
        """Look for engines and models, at the start and whenever the settings have changed."""
        settings = self._setup.settings
        self._form.set_rpc_workers(settings.rpc_workers)
        await asyncio.gather(self._find_engines(settings), self._find_models(settings))

    async def _find_engines(self, settings: Settings) -> None:
        found = await asyncio.to_thread(find_engines, settings, self._setup.paths)
        self._planner.engines = found.engines
        self.problems = found.problems
        self._form.set_engines(found.engines)

    async def _find_models(self, settings: Settings) -> None:
        models: tuple[ModelInfo, ...] = await asyncio.to_thread(known_models, settings, self._setup.paths)
        self._form.set_models(models)
