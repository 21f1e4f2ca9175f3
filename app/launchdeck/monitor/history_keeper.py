"""Loading and saving the history beside an event loop."""

from __future__ import annotations

import asyncio
import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from launchdeck.monitor.history import History
    from launchdeck.monitor.history_store import HistoryStore

logger = logging.getLogger(__name__)

SAVE_EVERY_S: Final = 300.0
LAST_SAVE_S: Final = 1.0


class HistoryKeeper:
    """Opens the history of the last run, saves it every few minutes and at the end. All of it in worker threads, and
    numpy is imported there, too.
    """

    def __init__(self, path: Path | None, save_every_s: float = SAVE_EVERY_S) -> None:
        """`path` None: begin with nothing and save nothing."""
        self._path = path
        self._save_every_s = save_every_s
        self._saving: asyncio.Task[None] | None = None
        self._history: History | None = None
        self._store: HistoryStore | None = None

    async def open(self, interval_s: float) -> History:
        """The history, with what is known already, for samples that come at this interval."""
        self._history = await asyncio.to_thread(self._load, interval_s)
        if self._store is not None:
            self._saving = asyncio.get_running_loop().create_task(self._save_again_and_again())
        return self._history

    async def close(self) -> None:
        """Save for the last time; a disk that does not answer is not waited for."""
        if self._saving is not None:
            self._saving.cancel()
            try:
                await asyncio.wait_for(self._save(), LAST_SAVE_S)
            except TimeoutError:
                logger.warning("The history of the GPUs could not be saved: %s does not answer", self._path)

    def _load(self, interval_s: float) -> History:
        from launchdeck.monitor.history import History  # noqa: PLC0415 (numpy)
        from launchdeck.monitor.history_store import HistoryStore  # noqa: PLC0415

        history = History(interval_s)
        if self._path is not None:
            self._store = HistoryStore(self._path)
            history.restore(self._store.load(), time.time())
        return history

    async def _save_again_and_again(self) -> None:
        while True:
            await asyncio.sleep(self._save_every_s)
            await self._save()

    async def _save(self) -> None:
        """The rows are copied in the event loop's thread, where they grow, and written in another."""
        if self._history is not None and self._store is not None:
            await asyncio.to_thread(self._store.save, self._history.rows(time.time()))
