"""Planner and manager with all they need: what the window, the self test and the commands stand on."""

from __future__ import annotations

import asyncio
import logging

from launchdeck.domain.errors import Failure
from launchdeck.domain.gpu import Inventory
from launchdeck.engines.planner import Planner
from launchdeck.engines.registry import adapters
from launchdeck.hardware.opening import open_source
from launchdeck.hardware.replay import ReplaySource
from launchdeck.hardware.source import InventorySource
from launchdeck.serving.first_version import identified, is_list_of_then, places_in
from launchdeck.serving.manager import ProcessManager
from launchdeck.serving.process import QtShimLauncher
from launchdeck.serving.request_memory import RequestMemory
from launchdeck.serving.start_list import LOOK_S, start_marked
from launchdeck.settings.setup import Setup

logger = logging.getLogger(__name__)


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
        self._has_looked = False

    def open_source(self) -> InventorySource:
        """Where readings of the GPUs come from; to be opened by the thread that will read."""
        if self.setup.recorded is not None:
            return ReplaySource(self.setup.recorded)
        return open_source(self.setup.settings.detection, self.setup.inventory_file)

    def observe(self, inventory: Inventory) -> None:
        """A new reading of all devices, for whoever plans and supervises."""
        self._settle_places(inventory)
        self.planner.inventory = inventory
        self.manager.observe(inventory)

    def _settle_places(self, inventory: Inventory) -> None:
        """Earlier versions kept the places of GPUs. What these mean is found out once, at the first look; where the
        list may be another than the one that was meant, they are kept, and the user chooses again.
        """
        kept = (self.requests, self.manager.start_list)
        if inventory.replayed or self._has_looked:
            return
        self._has_looked = True
        places = places_in(request for one in kept for request in one.unsettled)
        is_known = is_list_of_then(inventory, places, self.planner.seen_gpu_uuids)
        if places and not is_known:
            logger.warning("GPUs of before are away: what was saved for a GPU by its place has to be chosen again")
        for one in kept:
            one.settle(lambda request: identified(request, inventory) if is_known else request)

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
