"""Work that may never come back: in a thread of its own that nobody has to wait for.

The threads of asyncio's and Qt's pools are waited for when their loop is closed and once more when the process ends. A
name that is looked up, a keyring or a folder on a dead mount can hang in the system for minutes, or for good: such work
is done in a daemon thread, so that cancelling it is at once and the process can end while it still hangs.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

_T = TypeVar("_T")


async def in_background(work: Callable[[], _T]) -> _T:
    """Carry out `work` in a daemon thread of its own and give what it gives.

    Whoever is cancelled goes on at once. The thread is left to itself then: work that goes on writing for long has to
    be told by the caller.

    Raises:
        Exception: whatever `work` raises.
    """
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[_T] = loop.create_future()

    def deliver(result: _T | None, error: BaseException | None) -> None:
        if answer.done():  # cancelled: nobody wants it any more
            return
        if error is None:
            answer.set_result(result)  # type: ignore[arg-type]  # it is None only where _T is
        else:
            answer.set_exception(error)

    def run() -> None:
        result, error = None, None
        try:
            result = work()
        except BaseException as raised:  # noqa: BLE001 (it is raised where it is waited for)
            error = raised
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(deliver, result, error)

    threading.Thread(target=run, name=f"background {getattr(work, '__name__', '')}".strip(), daemon=True).start()
    return await answer
