"""Planner and manager with all they need: what the window, the self test and the commands stand on."""

from __future__ import annotations

import asyncio

from launchdeck.domain.errors import Failure
from launchdeck.engines.planner import Planner
from launchdeck.engines.registry import adapters
from launchdeck.hardware.replay import ReplaySource
from launchdeck.hardware.source import InventorySource, open_source
from launchdeck.serving.manager import ProcessManager
from launchdeck.serving.process import QtShimLauncher
from launchdeck.serving.request_memory import RequestMemory
from launchdeck.serving.start_list import LOOK_S, start_marked
from launchdeck.settings.setup import Setup


class Core:
    """Belongs to one event loop; a Qt application has to exist."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.requests = RequestMemory(setup.paths.state / "requests.json")
        self.planner = Planner(lambda: setup.settings, setup.paths)
        self._launcher = QtShimLauncher()
        self.manager = ProcessManager(
            paths=setup.paths,
            settings=lambda: setup.settings,
            launcher=self._launcher,
            planner=self.planner.plan,
            adapters=adapters(),
            advise=self.planner.advise,
        )
        self.manager.subscribe(self.planner.on_deployment)

    def open_source(self) -> InventorySource:
        """Where readings of the GPUs come from; to be opened by the thread that will read."""
        if self.setup.recorded is not None:
            return ReplaySource(self.setup.recorded)
        return open_source(self.setup.settings.detection, self.setup.inventory_file)

    async def start_marked(self) -> list[Failure]:
        """What starts with Launchdeck, as soon as devices and engines are known. Gives why one was not started."""
        if not self.manager.start_list.requests or self.setup.inventory_file is not None:
            return []
        while self.planner.inventory is None or self.planner.engines is None:  # noqa: ASYNC110 (once, at the start)
            await asyncio.sleep(LOOK_S)
        return await start_marked(self.manager, lambda: self.planner.inventory)

    async def close(self, *, keep: bool) -> None:
        """Leave the models serving, or stop them all; then end what runs beside the main thread."""
        await self.manager.close(keep=keep)
        self._launcher.close()
