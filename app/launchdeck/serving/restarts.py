"""Whether and when a model that failed is started again. Pure: what the clock says is handed in."""

from __future__ import annotations

from typing import Final

from launchdeck.domain.errors import Cause, Failure

MOST_RESTARTS: Final = 5
PAUSE_MAX_S: Final = 60.0
GOOD_S: Final = 600.0
_ACCIDENTS: Final = frozenset({Cause.CRASHED, Cause.SUPERVISOR_LOST})


def may_help(failure: Failure, *, is_recognised: bool) -> bool:
    """Whether the same command may succeed the next time.

    A failure that the engine's log or the system explains, say lack of memory or a wrong option, would only happen
    again; an accident may not, nor may an exit that nobody can explain (START_FAILED, not recognised).
    """
    return failure.cause in _ACCIDENTS or (failure.cause is Cause.START_FAILED and not is_recognised)


class Backoff:
    """Counts the restarts of one model: the pauses before them double, and after five it is over.

    A model that served for ten minutes begins anew, as the start limits of service managers have it.
    """

    def __init__(self) -> None:
        self.restarts = 0

    def next_pause_s(self, first_pause_s: float, served_s: float) -> float | None:
        """How long to wait before the next restart; None: no more. `served_s` is for how long it ran since the last."""
        if served_s >= GOOD_S:
            self.restarts = 0
        if self.restarts >= MOST_RESTARTS:
            return None
        pause_s = min(first_pause_s * 2.0**self.restarts, PAUSE_MAX_S)
        self.restarts += 1
        return pause_s
