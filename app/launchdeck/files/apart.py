"""Looking at places that may never answer: a network folder whose server is gone holds up for good whoever looks.

Such a look is made apart, in a daemon thread. That one can be given up, and it keeps no process from ending, unlike a
thread of asyncio's pool. Whoever looks says at what (`looking_at`), and each time it does is a sign of life: a look may
take as long as it gets ahead. A place that was given up is known to all, and is asked again by nobody until the call
that it held up has come back.
"""

from __future__ import annotations

import errno
import logging
import threading
from typing import TYPE_CHECKING, Final, TypeVar, cast

from launchdeck.files.mounts import mount_of, mounts

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_T = TypeVar("_T")

logger = logging.getLogger(__name__)

# Patience is counted in slices, so that time in which the whole process stood still counts for one at most.
_SLICES: Final = 10


class NoAnswerError(OSError):
    """`place` does not answer: the system has not come back from looking at it, "" where nobody said at what."""

    def __init__(self, place: str) -> None:
        super().__init__(errno.ETIMEDOUT, "it does not answer", place)
        self.place = place


def looking_at(place: Path | str) -> None:
    """Say what is looked at next; in whichever thread, at the cost of a microsecond.

    Raises:
        NoAnswerError: it, or a folder above it, is known not to answer.
    """
    still_looking()
    look = _look()
    if look is not None:
        look.place = str(place)
    if _silent and (silent := _silent_above(str(place))) is not None:
        raise NoAnswerError(silent)


def still_looking() -> None:
    """Give a sign of life in the middle of something long."""
    look = _look()
    if look is not None:
        if look.is_given_up:
            raise _GivenUpError
        look.signs += 1


def call_apart(call: Callable[[], _T], patience_s: float, *, rounds: int = 1) -> _T:
    """What `call` gives, or raises; carried out in a thread that is given up when it shows no sign of life for so long.

    What it was looking at is silent from now on. With more `rounds` it is begun again, for a call that does without
    what does not answer: its `looking_at` raises then.

    Raises:
        NoAnswerError: it was given up so many times.
    """
    place = ""
    for _ in range(rounds):
        look = _Look(call)
        threading.Thread(target=look.run, name="apart", daemon=True).start()
        if look.ends(patience_s):
            return cast("_T", look.answer())
        place = look.place
    raise NoAnswerError(place)


async def run_apart(call: Callable[[], _T], patience_s: float | None = None) -> _T:
    """As `call_apart`, for a coroutine; without a patience it is waited for as long as it takes.

    Cancelling the wait leaves the thread to itself, and so does the end of the loop.
    """
    import asyncio  # noqa: PLC0415 (who reads a file needs no event loop)

    loop = asyncio.get_running_loop()
    come = loop.create_future()
    look = _Look(call if patience_s is None else lambda: call_apart(call, patience_s))

    def tell() -> None:
        if not come.done():  # it is where nobody waits any more
            come.set_result(None)

    def work() -> None:
        look.run()
        try:
            loop.call_soon_threadsafe(tell)
        except RuntimeError:  # the loop has ended meanwhile, and nobody waits
            logger.debug("an answer came after the end")

    threading.Thread(target=work, name="apart", daemon=True).start()
    await come
    return cast("_T", look.answer())


class _GivenUpError(BaseException):
    """Ends a thread that nobody waits for any more; no handler of errors is to take it for one."""


class _Look:
    """One call, by the thread that makes it and the one that waits for it."""

    def __init__(self, call: Callable[[], object]) -> None:
        self._call = call
        self._value: object = None
        self._error: BaseException | None = None
        self.place = ""
        self.signs = 0
        self.is_given_up = False
        self.done = threading.Event()

    def run(self) -> None:
        """Carry it out, in this thread."""
        _thread.look = self
        try:
            self._value = self._call()
        except BaseException as error:  # noqa: BLE001 (it is the caller's)
            self._error = error
        finally:
            with _lock:
                self.done.set()
                if self.is_given_up:
                    _forget(self)

    def ends(self, patience_s: float) -> bool:
        """Wait for it; False where it had to be given up."""
        seen, slices = self.signs, 0
        while not self.done.wait(patience_s / _SLICES):
            slices = slices + 1 if self.signs == seen else 0
            seen = self.signs
            if slices >= _SLICES and self._give_up():
                return False
        return True

    def _give_up(self) -> bool:
        """Whether it was still under way; then its place is silent from now on."""
        with _lock:
            if self.done.is_set():
                return False
            self.is_given_up = True
            if self.place:
                _remember(self)
        return True

    def answer(self) -> object:
        """What came of it, once it is done."""
        if self._error is not None:
            raise self._error
        return self._value


_lock = threading.Lock()
_thread = threading.local()
# Every place that does not answer, with the looks that it holds up; replaced as a whole.
_silent: dict[str, frozenset[_Look]] = {}


def _look() -> _Look | None:
    return getattr(_thread, "look", None)


def _remember(look: _Look) -> None:
    """With a network folder all that is mounted there is silent: else each file in it would be waited for in turn."""
    global _silent  # noqa: PLW0603 (what a machine's folders do is the same for all who look)
    mount = mount_of(look.place, mounts())
    place = look.place if mount is None or not mount.needs_server else mount.point
    _silent = _silent | {place: _silent.get(place, frozenset()) | {look}}
    logger.warning("%s does not answer; it is left out until it does", place)


def _forget(look: _Look) -> None:
    """It came back: all it was held up by answers again."""
    global _silent  # noqa: PLW0603 (as above)
    again = sorted(place for place, looks in _silent.items() if look in looks)
    _silent = {place: looks for place, looks in _silent.items() if place not in again}
    if again:
        logger.info("%s answers again", ", ".join(again))


def _silent_above(place: str) -> str | None:
    above = (silent for silent in _silent if place == silent or place.startswith(silent.rstrip("/") + "/"))
    return next(above, None)
