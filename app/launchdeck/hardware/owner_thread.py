"""A thread that owns a driver's library: all calls come from it, and a call that hangs holds up nobody else."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from queue import SimpleQueue
from typing import Any, TypeVar

_T = TypeVar("_T")
_NEVER_S = float("-inf")


class StalledError(Exception):
    """The thread is still in an earlier call, for `for_s` seconds now."""

    def __init__(self, for_s: float) -> None:
        super().__init__(f"no answer for {for_s:.0f} s")
        self.for_s = for_s


class OwnerThread:
    """Carries out one call at a time. It begins with the first call and ends with the process, or with `end`.

    A driver call that hangs cannot be cancelled, so the caller gives up after its patience and asks again later; the
    answer to a call that was given up is thrown away. All methods belong to one thread, the caller's.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._calls: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._answer: Future[Any] | None = None
        self._since_s = 0.0

    @property
    def is_stalled(self) -> bool:
        """Whether a call that was given up has still not come back."""
        return self._answer is not None and not self._answer.done()

    @property
    def stalled_for_s(self) -> float:
        """How long ago the latest call was made."""
        return time.monotonic() - self._since_s

    def call(self, work: Callable[[], _T], patience_s: float, begun_s: Callable[[], float] = lambda: _NEVER_S) -> _T:
        """What `work` gives, or raises. Work that consists of steps tells when its latest one has begun: each of them
        is given the patience.

        Raises:
            StalledError: it takes longer than the patience; or an earlier call still does, then at once.
        """
        if self.is_stalled:
            raise StalledError(self.stalled_for_s)
        if self._thread is None:
            # A daemon, or a call that hangs would keep the process from ending.
            self._thread = threading.Thread(target=self._run, args=(self._calls,), name=self._name, daemon=True)
            self._thread.start()
        answer: Future[_T] = Future()
        self._answer, self._since_s = answer, time.monotonic()
        self._calls.put(lambda: _answer(answer, work))
        left_s = patience_s
        while not wait((answer,), left_s).done:
            left_s = begun_s() + patience_s - time.monotonic()
            if left_s <= 0:
                raise StalledError(patience_s)
        return answer.result()

    def end(self) -> None:
        """Let the thread go, as soon as its call has come back. The next call begins another one."""
        self._calls.put(None)
        self._calls = SimpleQueue()
        self._thread = self._answer = None

    @staticmethod
    def _run(calls: SimpleQueue[Callable[[], None] | None]) -> None:
        while (call := calls.get()) is not None:
            call()


def _answer(answer: Future[_T], work: Callable[[], _T]) -> None:
    try:
        answer.set_result(work())
    except BaseException as error:  # noqa: BLE001 (it is the caller's)
        answer.set_exception(error)
