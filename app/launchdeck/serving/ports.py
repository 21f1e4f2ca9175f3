"""Which port a model gets. Pure: what the system says is handed in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from launchdeck.domain.errors import Cause, LaunchdeckError
from launchdeck.domain.text import Message

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator


def is_free(can_bind: Callable[[bool], bool], is_waiting: Callable[[], bool]) -> bool:
    """Tell whether a port is free: when it can be bound, or when only TIME_WAIT stands in the kernel's table for
    it (as in the minute after a stop) and it can be bound and listened on with SO_REUSEADDR, as engines do it.

    `can_bind(reuse)` tries it, `is_waiting()` says whether the table holds TIME_WAIT for it and nothing else. What
    becomes TIME_WAIT as soon as the client hangs up counts as such: the server's process is gone, and clients that
    keep their connections keep it so for a minute, too. A socket that is bound without listening is in no table, and
    can let itself be joined with SO_REUSEADDR: so that option alone proves nothing.
    """
    return can_bind(False) or (is_waiting() and can_bind(True))


def candidates(ports: range, taken: Collection[int]) -> Iterator[int]:
    """List the ports to try, in order."""
    return (port for port in ports if port not in taken)


def no_port(ports: range) -> LaunchdeckError:
    return LaunchdeckError.of(
        Cause.NO_PORT,
        Message("No available ports (max {count} models reached)", count=len(ports)),
        Message("Stop a model, or widen the range of ports in the settings."),
    )
