"""One question at a time on the event loop: started, cancelled, and its failure told in words."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from launchdeck.domain.errors import LaunchdeckError
from launchdeck.ui.kit.i18n import tr

logger = logging.getLogger(__name__)


class Asking:
    """Runs one piece of work; `ended` is called with a sentence if it failed, with "" if it is through or cancelled."""

    def __init__(self, ended: Callable[[str], None]) -> None:
        self._ended = ended
        self._task: asyncio.Task[None] | None = None

    @property
    def is_running(self) -> bool:
        return self._task is not None

    def start(self, work: Callable[[], Awaitable[None]]) -> None:
        """Begin on the running event loop; what was under way is given up first."""
        self.cancel()
        self._task = asyncio.get_running_loop().create_task(self._run(work))

    def cancel(self) -> None:
        """Give up: `ended` is called before this returns, and whatever the work still does is of no account."""
        if self._task is not None:
            self._task.cancel()
            self._task = None
            self._ended("")

    async def _run(self, work: Callable[[], Awaitable[None]]) -> None:
        error = ""
        try:
            await work()
        except LaunchdeckError as failed:
            failure = failed.failure
            error = " ".join(tr(part) for part in (failure.message, failure.advice) if part)
        except Exception:
            logger.exception("Asking the model failed in an unexpected way")
            error = tr("Something unexpected went wrong; the log has the details.")
        if self._task is asyncio.current_task():
            self._task = None
            self._ended(error)
