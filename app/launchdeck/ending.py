"""The end of the process: in order where that can be, and soon in any case.

Signals are heard in a thread of its own, which neither an event loop that is not there yet nor one that is stuck can
keep from it. From the moment at which the process was asked to end, the same thread counts: what is not done in time is
left as it is, with a word about what it waited for.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import FrameType
from typing import Final

logger = logging.getLogger(__name__)

ENDING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
IN_ORDER_S: Final = 3.5
AFTERWARDS_S: Final = 1.5
"""For what is only to be cleared away, when all that matters is done."""
LAST_WORDS_S: Final = 1.0
_BY_THE_KERNEL_S: Final = 0.3
_WAKE_UP, _LEAVE = b"\0", b"\xff"  # no signal has these numbers
_FRAMES_SHOWN: Final = 3
_FRAMES_OF_A_WAITING_THREAD: Final = 4
"""A thread's beginning takes three; one that has no more in it than that waits for work."""


class Ending:
    """Of one process. Nothing happens before `listen`: without it, signals do what they do, and no end is forced.

    `at_last` is called, in any thread, where the process does not end in order: what must not be left undone.
    """

    def __init__(self, in_order_s: float = IN_ORDER_S) -> None:
        """`in_order_s`: from the question to the moment at which an orderly end is given up."""
        self._in_order_s = in_order_s
        self.at_last: list[Callable[[], None]] = []
        self._callbacks: dict[int, Callable[[], None]] = {}
        self._unheard: set[int] = set()
        self._before: dict[int, object] = {}
        self._pipe: tuple[int, int] | None = None
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._until_s: float | None = None
        self._is_asked = False
        self._patience = 0
        self._status: int | None = None

    # The signals

    def listen(self, numbers: tuple[signal.Signals, ...] = ENDING) -> None:
        """Take these signals from here on, and those that end a process in any case. In the main thread only."""
        read, write = self._pipe = os.pipe()
        os.set_blocking(write, False)
        signal.set_wakeup_fd(write, warn_on_full_buffer=False)
        for number in {*ENDING, *numbers}:
            if number is not signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:  # `nohup` has it ignored
                self._before[number] = signal.signal(number, _do_nothing)
                signal.siginterrupt(number, False)
        self._thread = threading.Thread(target=self._watch, args=(read,), name="ending", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Give the signals back: the process goes on. In the main thread only."""
        if self._pipe is None or self._thread is None:
            return
        read, write = self._pipe
        signal.set_wakeup_fd(-1)
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        os.write(write, _LEAVE)
        self._thread.join()
        if self._is_asked:
            signal.setitimer(signal.ITIMER_REAL, 0)
        os.close(read)
        os.close(write)
        self._pipe = None

    def call(self, callback: Callable[[], object], numbers: tuple[signal.Signals, ...] = ENDING) -> None:
        """Have the running loop call this when a signal comes, also for one that has come already."""
        import asyncio  # noqa: PLC0415 (whoever has a loop has it; it is a third of a bare window's start)

        loop = asyncio.get_running_loop()

        def post() -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: the end is under way
                loop.call_soon_threadsafe(callback)

        with self._lock:
            self._callbacks |= dict.fromkeys(numbers, post)
            came_before = self._unheard.intersection(numbers)
            self._unheard -= came_before
        if came_before:
            post()

    def _watch(self, pipe: int) -> None:
        while True:
            left_s = self._left_s()
            if left_s is not None and left_s <= 0:
                self._leave_at_once()
            if not select.select([pipe], [], [], left_s)[0]:
                continue
            heard = os.read(pipe, 64)
            if _LEAVE in heard:
                return
            for number in heard.replace(_WAKE_UP, b""):
                self._hear(number)

    def _hear(self, number: int) -> None:
        if number in ENDING:
            self.begin()
        with self._lock:
            post = self._callbacks.get(number)
            if post is None:
                self._unheard.add(number)
        if post is not None:
            post()

    # The clock

    def is_asked(self) -> bool:
        """Whether the process is to end."""
        return self._is_asked

    def begin(self) -> None:
        """The process is to end: the clock runs. From any thread; asked again, it is the same end."""
        if not self._is_asked:
            self._is_asked = True
            self._wind(self._in_order_s)

    @contextmanager
    def patient(self) -> Iterator[None]:
        """Stop the clock while something goes on that may take its time: the models are being stopped, as asked."""
        self._patience += 1
        self._wind(None)
        try:
            yield
        finally:
            self._patience -= 1
            self._wind(self._in_order_s)

    def done(self, status: int) -> None:
        """All that matters is in order: the exit status is this, whatever still has to be cleared away."""
        self._status = status
        left_s = self._left_s()
        self._wind(AFTERWARDS_S if left_s is None else min(AFTERWARDS_S, max(0.0, left_s)))

    def _wind(self, seconds: float | None) -> None:
        """The clock runs only once the end is asked for, and as long as nobody is patient."""
        if not self._is_asked or self._pipe is None:
            return
        runs = seconds is not None and not self._patience
        self._until_s = time.monotonic() + seconds if seconds is not None and runs else None
        # The interpreter's own end is not in our hands, nor a call that lets no other thread run: this alarm is.
        at_most_s = seconds + LAST_WORDS_S + _BY_THE_KERNEL_S if seconds is not None and runs else 0
        signal.setitimer(signal.ITIMER_REAL, at_most_s)
        os.write(self._pipe[1], _WAKE_UP)

    def _left_s(self) -> float | None:
        return None if self._until_s is None else self._until_s - time.monotonic()

    # The end where it is not in order

    def _leave_at_once(self) -> None:
        """Whatever hangs may be the log as well, or a disk: last words and last deeds have the same moment, each."""
        stands = _stand_of_threads()
        last = [partial(self._say_last_words, stands)]
        last += [partial(_do_at_last, call) for call in (self.at_last if self._status is None else ())]
        threads = [threading.Thread(target=deed, name="at-last", daemon=True) for deed in last]
        until_s = time.monotonic() + LAST_WORDS_S
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(max(0.0, until_s - time.monotonic()))
        os._exit(1 if self._status is None else self._status)

    def _say_last_words(self, stands: list[str]) -> None:
        held_up = "".join(f"\n  {stand}" for stand in stands)
        if self._status is not None:
            logger.warning("Ended without waiting any longer. What held it up:%s", held_up)
        else:
            logger.error(
                "Did not end in order within %g s, and was ended as it was; the models are left to their supervisors. "
                "What held it up:%s",
                self._in_order_s,
                held_up,
            )
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError, AttributeError):
                stream.flush()


def _do_at_last(call: Callable[[], None]) -> None:
    try:
        call()
    except Exception:
        logger.exception("At the end, something could not be put in order")


def _do_nothing(_number: int, _frame: FrameType | None) -> None:
    """The watching thread has heard it."""


def _stand_of_threads() -> list[str]:
    """Where every thread is that is at something, innermost call last."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    stands = []
    for ident, frame in sys._current_frames().items():  # noqa: SLF001 (there is no other way to ask)
        calls = list(traceback.walk_stack(frame))  # not extract_stack, which reads sources: a disk may be what hangs
        is_main = ident == threading.main_thread().ident
        if ident == threading.get_ident() or (len(calls) <= _FRAMES_OF_A_WAITING_THREAD and not is_main):
            continue
        places = [f"{call.f_code.co_name} ({call.f_code.co_filename}:{line})" for call, line in calls[:_FRAMES_SHOWN]]
        stands.append(f"{names.get(ident, 'a thread of a library')}: {' > '.join(reversed(places))}")
    return stands
