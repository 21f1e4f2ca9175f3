"""Planner and manager with all they need: what the window, the self test and the commands stand on."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

from launchdeck.domain.errors import Failure
from launchdeck.domain.gpu import Inventory
from launchdeck.domain.text import Message
from launchdeck.engines.planner import Planner
from launchdeck.engines.registry import adapters
from launchdeck.hardware.opening import open_source
from launchdeck.hardware.replay import ReplaySource
from launchdeck.hardware.source import InventorySource
from launchdeck.serving.manager import ProcessManager
from launchdeck.serving.process import QtShimLauncher
from launchdeck.serving.records.first_version import SeenGpus, identified, is_list_of_then, places_in
from launchdeck.serving.requests.request_file import RequestFile
from launchdeck.serving.requests.request_memory import RequestMemory
from launchdeck.serving.requests.starting import start_marked
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
        self._gpus_of_before: SeenGpus | None = None  # None: the records have not been read yet
        self._settled = asyncio.Event()
        self._readers: list[Callable[[Inventory], None]] = []

    def open_source(self) -> InventorySource:
        """Where readings of the GPUs come from; to be opened by the thread that will read."""
        if self.setup.recorded is not None:
            return ReplaySource(self.setup.recorded)
        return open_source(self.setup.settings.detection, self.setup.inventory_file)

    async def adopt(self) -> list[Message]:
        """Take over what runs since an earlier run, and give what was not understood of it."""
        problems = await self.manager.adopt()
        self._gpus_of_before = await self._remembered_gpus()
        if self.planner.inventory is not None:
            self._settle_places(self.planner.inventory)
        return problems

    def observe(self, inventory: Inventory) -> None:
        """A new reading of all devices: for whoever plans and supervises, and then for all who have asked for it."""
        self._settle_places(inventory)
        self.planner.inventory = inventory
        self.manager.observe(inventory)
        for tell in tuple(self._readers):
            try:
                tell(inventory)
            except Exception:  # a mistake in one of them costs no other its readings
                logger.exception("a reading could not be told to %r", tell)

    def subscribe_inventory(self, callback: Callable[[Inventory], None]) -> Callable[[], None]:
        """Have every new reading told, in the event loop's thread. Call what is returned to end that."""
        self._readers.append(callback)
        return lambda: self._readers.remove(callback)

    def _settle_places(self, inventory: Inventory) -> None:
        """Earlier versions kept the places of GPUs. What these mean is found out once, when the records have been read
        and the GPUs looked at; where the list may be another than the one that was meant, they are kept, and the user
        chooses again.
        """
        if inventory.replayed or self._settled.is_set() or self._gpus_of_before is None:
            return
        self._settled.set()
        places = self._kept_places()
        is_known = is_list_of_then(inventory, places, self._gpus_of_before)
        if places and not is_known:
            logger.warning("The GPUs may be others than before: what was saved by a place has to be chosen again")
        for file in self._request_files:
            file.settle(lambda request: identified(request, inventory) if is_known else request)

    @property
    def _request_files(self) -> tuple[RequestFile, ...]:
        return self.requests.file, self.manager.start_list.file

    def _kept_places(self) -> set[int]:
        return places_in(request for file in self._request_files for request in file.unsettled)

    async def _remembered_gpus(self) -> SeenGpus:
        """The history is read only where something is to be found out by it: numpy takes its time."""
        if not self._kept_places():
            return SeenGpus()
        gpus = (gpu for deployment in self.manager.deployments for gpu in deployment.plan.gpus)
        return SeenGpus(
            places=frozenset((gpu.index, gpu.uuid) for gpu in gpus if gpu.is_identified),
            ran_on=frozenset(self.planner.seen_gpu_uuids),
            charted=tuple(await asyncio.to_thread(_charted, self.setup.paths.history)),
        )

    async def start_marked(self) -> list[Failure]:
        """What starts with Launchdeck, as soon as devices, engines and the GPUs that are meant are known. Gives why one
        was not started.
        """
        if not self.manager.start_list.requests or self.setup.inventory_file is not None:
            return []
        await self._settled.wait()
        await self.planner.known.wait()
        return await start_marked(self.manager, self.planner.refuse, lambda: self.planner.inventory)

    async def close(self, *, keep: bool) -> None:
        """Leave the models serving, or stop them all; then end what runs beside the main thread."""
        await self.manager.close(keep=keep)
        self._launcher.close()


def _charted(history: Path) -> list[str]:
    """The devices in the history's file. Touches the disk."""
    from launchdeck.monitor.history_store import HistoryStore  # noqa: PLC0415 (numpy)

    return list(HistoryStore(history).load())
