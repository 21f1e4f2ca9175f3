from __future__ import annotations

from itertools import product

import pytest

from launchdeck.domain.deployment import State
from launchdeck.serving.lifecycle import Event, next_state

LEGAL = {
    (State.QUEUED, Event.LAUNCH): State.STARTING,
    (State.QUEUED, Event.STOP): State.STOPPING,
    (State.QUEUED, Event.FAILED): State.FAILED,
    (State.STARTING, Event.STARTED): State.LOADING,
    (State.STARTING, Event.LAUNCH): State.STARTING,
    (State.STARTING, Event.STOP): State.STOPPING,
    (State.STARTING, Event.RETRY): State.QUEUED,
    (State.STARTING, Event.FAILED): State.FAILED,
    (State.LOADING, Event.READY): State.RUNNING,
    (State.LOADING, Event.LAUNCH): State.STARTING,
    (State.LOADING, Event.STOP): State.STOPPING,
    (State.LOADING, Event.RETRY): State.QUEUED,
    (State.LOADING, Event.FAILED): State.FAILED,
    (State.RUNNING, Event.MISSED): State.UNRESPONSIVE,
    (State.RUNNING, Event.STOP): State.STOPPING,
    (State.RUNNING, Event.RETRY): State.QUEUED,
    (State.RUNNING, Event.FAILED): State.FAILED,
    (State.UNRESPONSIVE, Event.ANSWERED): State.RUNNING,
    (State.UNRESPONSIVE, Event.STOP): State.STOPPING,
    (State.UNRESPONSIVE, Event.RETRY): State.QUEUED,
    (State.UNRESPONSIVE, Event.FAILED): State.FAILED,
    (State.STOPPING, Event.ENDED): State.STOPPED,
    (State.STOPPING, Event.FAILED): State.FAILED,
}


@pytest.mark.parametrize(("state", "event"), list(product(State, Event)))
def test_every_state_takes_exactly_these_events(state: State, event: Event) -> None:
    if (state, event) in LEGAL:
        assert next_state(state, event) is LEGAL[state, event]
    else:
        with pytest.raises(ValueError, match="cannot happen"):
            next_state(state, event)
