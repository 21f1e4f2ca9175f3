"""The states of a deployment, and what may follow what. Pure."""

from __future__ import annotations

from enum import StrEnum
from types import MappingProxyType
from typing import Final

from launchdeck.domain.deployment import State


class Event(StrEnum):
    """LAUNCH: a supervisor is being started, again if the port was lost to another. STARTED: the engine runs.
    READY: it serves, and it is ours. MISSED: it does not answer; ANSWERED: it does again. STOP: its tree is told
    to end. RETRY: nothing is left, and it will be launched again after a pause. ENDED: as asked, nothing is left.
    FAILED: nothing is left either, and nobody had asked for that; or it could not be launched when its turn came.
    """

    LAUNCH = "launch"
    STARTED = "started"
    READY = "ready"
    MISSED = "missed"
    ANSWERED = "answered"
    STOP = "stop"
    RETRY = "retry"
    ENDED = "ended"
    FAILED = "failed"


_NEXT: Final = MappingProxyType(
    {
        State.QUEUED: {Event.LAUNCH: State.STARTING, Event.STOP: State.STOPPING, Event.FAILED: State.FAILED},
        State.STARTING: {
            Event.STARTED: State.LOADING,
            Event.LAUNCH: State.STARTING,
            Event.STOP: State.STOPPING,
            Event.RETRY: State.QUEUED,
            Event.FAILED: State.FAILED,
        },
        State.LOADING: {
            Event.READY: State.RUNNING,
            Event.LAUNCH: State.STARTING,
            Event.STOP: State.STOPPING,
            Event.RETRY: State.QUEUED,
            Event.FAILED: State.FAILED,
        },
        State.RUNNING: {
            Event.MISSED: State.UNRESPONSIVE,
            Event.STOP: State.STOPPING,
            Event.RETRY: State.QUEUED,
            Event.FAILED: State.FAILED,
        },
        State.UNRESPONSIVE: {
            Event.ANSWERED: State.RUNNING,
            Event.STOP: State.STOPPING,
            Event.RETRY: State.QUEUED,
            Event.FAILED: State.FAILED,
        },
        State.STOPPING: {Event.ENDED: State.STOPPED, Event.FAILED: State.FAILED},
        State.STOPPED: {},
        State.FAILED: {},
    }
)


def next_state(state: State, event: Event) -> State:
    """Raises ValueError for what cannot happen in this state: that is an error of ours."""
    try:
        return _NEXT[state][event]
    except KeyError:
        raise ValueError(f"{event} cannot happen to a deployment that is {state}") from None
