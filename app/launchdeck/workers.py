"""Worker threads that hold up no end: a call that never comes back, say on a dead network mount, is left behind.

The pools of asyncio, qasync and concurrent.futures wait for their threads when they are shut down, and once more when
the interpreter ends.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from typing import Any, Final, TypeVar

logger = logging.getLogger(__name__)

MOST_THREADS: Final = 32
PATIENCE_S: Final = 0.5
"""What is written when the application ends takes less."""

_T = TypeVar("_T")
_Call = tuple[Future[Any], Callable[[], Any]]


class Workers(ThreadPoolExecutor):
    """The executor of an event loop, which asks for this very class; nothing but its interface is used.

    Threads are made as they are needed, are daemons, and end with `shutdown` where they can.
    """

    def __init__(self) -> None:
        super().__init__(MOST_THREADS)
        self._calls: SimpleQueue[_Call | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._workers: list[threading.Thread] = []
        self._waiting = 0
        self._idle = 0
        self._shut = threading.Event()

    def submit(self, fn: Callable[..., _T], /, *args: Any, **kwargs: Any) -> Future[_T]:
        """As any executor does it."""
        future: Future[_T] = Future()
        with self._lock:
            if self._shut.is_set():
                raise RuntimeError("there is no work after the end")
            self._calls.put((future, lambda: fn(*args, **kwargs)))
            self._waiting += 1
            if self._waiting > self._idle and len(self._workers) < MOST_THREADS:
                self._begin_worker()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: ARG002, FBT001, FBT002
        """Nothing more is begun. What is at work has a moment to end, and then is left behind."""
        with self._lock:
            self._shut.set()
            workers = tuple(self._workers)
        for _ in workers:
            self._calls.put(None)
        until_s = time.monotonic() + (PATIENCE_S if wait else 0.0)
        for worker in workers:
            worker.join(max(0.0, until_s - time.monotonic()))
        if left := [worker.name for worker in workers if worker.is_alive()]:
            logger.info("Left behind at work: %s", ", ".join(left))

    def _begin_worker(self) -> None:
        worker = threading.Thread(target=self._work, name=f"worker-{len(self._workers) + 1}", daemon=True)
        self._workers.append(worker)
        worker.start()

    def _work(self) -> None:
        while True:
            with self._lock:
                self._idle += 1
            call = self._calls.get()
            with self._lock:
                self._idle -= 1
                self._waiting -= 1
            if call is None:
                return
            self._carry_out(*call)

    def _carry_out(self, future: Future[Any], work: Callable[[], Any]) -> None:
        if self._shut.is_set() or not future.set_running_or_notify_cancel():
            return
        try:
            outcome, error = work(), None
        except BaseException as raised:  # noqa: BLE001 (it is the caller's)
            outcome, error = None, raised
        if self._shut.is_set():  # the loop that waited is closed, or about to be
            return
        if error is None:
            future.set_result(outcome)
        else:
            future.set_exception(error)
