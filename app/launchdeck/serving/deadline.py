"""By when a stop has to be carried out. A shim that hangs does nothing, and nobody shall wait for it for ever."""

from __future__ import annotations

import asyncio
import time
from typing import Final

CLEARING_S: Final = 10.0
"""What a shim needs besides the grace: its kernel may take its time with gigabytes of memory."""


class Deadline:
    """None until it is set. Lives in the event loop, whose clock is monotonic."""

    def __init__(self) -> None:
        self._at_s: float | None = None
        self._changed = asyncio.Event()

    def set_in(self, delay_s: float) -> None:
        """Let it pass in so many seconds; one that passes earlier stays."""
        at_s = time.monotonic() + delay_s
        self._at_s = at_s if self._at_s is None else min(self._at_s, at_s)
        self._changed.set()

    async def passed(self) -> None:
        """Return when it has passed."""
        while self._at_s is None or (left_s := self._at_s - time.monotonic()) > 0:
            self._changed.clear()
            try:
                async with asyncio.timeout(None if self._at_s is None else left_s):
                    await self._changed.wait()
            except TimeoutError:
                continue
