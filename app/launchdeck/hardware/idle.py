"""Letting an idle GPU sleep: asking it for readings keeps it awake, with NVML even the opened library does."""

from __future__ import annotations

from collections.abc import Callable

_IDLE_BEFORE_REST_S = 60.0
_REST_S = 20.0
_BETWEEN_RESTS_S = 600.0
_NEVER_S = float("-inf")


class IdleRest:
    """When to leave a GPU alone so that it can fall asleep, and when to look at it again.

    After a minute without work comes a rest of 20 s, in which nothing is read and the GPU counts as asleep. If it
    has not really fallen asleep by then, somebody else keeps it awake (a monitor, say), and the next attempt is made
    ten minutes later.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._worked_at_s = clock()
        self._rests_until_s = _NEVER_S

    @property
    def is_resting(self) -> bool:
        return self._clock() < self._rests_until_s

    def note_work(self) -> None:
        """A GPU computed, or a process held its memory."""
        self._worked_at_s = self._clock()

    def note_sleep(self) -> None:
        """The rest has reached its aim: once the GPU is awake again, the next may begin after a minute."""
        self._rests_until_s = _NEVER_S
        self._worked_at_s = self._clock()

    def begins(self) -> bool:
        """Whether a rest begins now."""
        now_s = self._clock()
        if now_s < max(self._worked_at_s + _IDLE_BEFORE_REST_S, self._rests_until_s + _BETWEEN_RESTS_S):
            return False
        self._rests_until_s = now_s + _REST_S
        return True
