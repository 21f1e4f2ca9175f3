"""The connections to the interface: who has one, and how long it may take over what it has to say.

Whoever has not shown the token is a stranger. Strangers have places of their own, so they cannot use up the owner's,
and a time for everything: a head, an answer that has to be taken, the rest of a body that nobody reads. Where all
places are taken, the connection goes that has been there longest and is not being answered.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any, Final

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from launchdeck.api.streams import ABORT

if TYPE_CHECKING:
    import asyncio

ADMIT: Final = "launchdeck.admit"
PEER: Final = "launchdeck.peer"
MOST_STRANGERS: Final = 256
MOST_OWNERS: Final = 128
BACKLOG: Final = 64
"""So few are let in at once that nobody loses a place before the head that was sent along has been read: that takes
three rounds of the event loop, in which fewer come than strangers have places.
"""
HEAD_TIMEOUT_S: Final = 10.0
KEEP_ALIVE_S: Final = 30.0
UNREAD_TIMEOUT_S: Final = 2.0
UNREAD_BYTES: Final = 1024 * 1024


class Phase(Enum):
    """What a connection is in the middle of."""

    IDLE = "nothing: another request may come"
    HEAD = "a head that is not complete"
    ANSWER = "an answer, and the body that it is an answer to"
    UNREAD = "the rest of a body that was answered without it"
    CLOSING = "the last of an answer, which has to be taken"


class Places:
    """Who is connected, in the order in which they came."""

    def __init__(self, most_strangers: int = MOST_STRANGERS, most_owners: int = MOST_OWNERS) -> None:
        self._most_strangers = most_strangers
        self._most_owners = most_owners
        self.strangers: dict[Connection, None] = {}
        self.owners: dict[Connection, None] = {}

    def enter(self, connection: Connection) -> None:
        """Take in a stranger. Where there are too many, another one goes."""
        self.strangers[connection] = None
        if len(self.strangers) > self._most_strangers:
            oldest = next(iter(self.strangers))
            _end(self.strangers, _idle(self.strangers) or oldest)

    def admit(self, connection: Connection) -> bool:
        """Give one that has shown the token a place of the owner's. False: all of them are being answered."""
        if connection in self.owners:
            return True
        if len(self.owners) >= self._most_owners:
            idle = _idle(self.owners)
            if idle is None:
                return False
            _end(self.owners, idle)
        self.strangers.pop(connection, None)
        self.owners[connection] = None
        return True

    def leave(self, connection: Connection) -> None:
        """Take back its place, if it still has one."""
        self.strangers.pop(connection, None)
        self.owners.pop(connection, None)


def _idle(places: dict[Connection, None]) -> Connection | None:
    return next((one for one in places if one.phase is not Phase.ANSWER), None)


def _end(places: dict[Connection, None], connection: Connection) -> None:
    del places[connection]
    connection.transport.abort()


class Connection(H11Protocol):
    """One connection. `phase` is what it is in the middle of; what takes too long ends it."""

    def __init__(self, places: Places, **uvicorns: Any) -> None:
        super().__init__(**uvicorns)
        self.phase = Phase.HEAD
        self._places = places
        self._deadline: asyncio.TimerHandle | None = None
        self._unread_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Let a stream give up on it, and the gate admit it."""
        super().connection_made(transport)
        self.app_state = {**self.app_state, ABORT: transport.abort, ADMIT: self._admit}
        self._go_on(Phase.HEAD)
        self._places.enter(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Give back its place."""
        if self._deadline is not None:
            self._deadline.cancel()
        self._places.leave(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on; of a body that was answered already, no more than a little."""
        if self.phase is Phase.UNREAD:
            self._unread_bytes += len(data)
            if self._unread_bytes > UNREAD_BYTES:
                self.transport.abort()
                return
        super().data_received(data)
        self._look()

    def on_response_complete(self) -> None:
        """Wait for what comes next."""
        super().on_response_complete()
        self._look()

    def send_400_response(self, msg: str) -> None:
        """Say that this is no HTTP, unless it came in the middle of an answer."""
        if self.conn.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
            super().send_400_response(msg)
        else:
            self.transport.abort()

    def _admit(self) -> bool:
        is_admitted = self._places.admit(self)
        if is_admitted:
            self._go_on(self.phase)  # the owner has other times
        return is_admitted

    def _look(self) -> None:
        phase = self._current_phase()
        if phase is not self.phase:
            self._go_on(phase)

    def _current_phase(self) -> Phase:
        if self.transport.is_closing():
            return Phase.CLOSING
        if self.cycle is None:  # uvicorn says that it never is; it is before the first request
            return Phase.HEAD  # type: ignore[unreachable]
        if not self.cycle.response_complete:
            return Phase.ANSWER
        if self.conn.their_state is h11.SEND_BODY:
            return Phase.UNREAD
        return Phase.HEAD if self.conn.trailing_data[0] else Phase.IDLE

    def _go_on(self, phase: Phase) -> None:
        """Be in this phase from now on, for as long as one of its kind may be."""
        self.phase = phase
        self._unread_bytes = 0
        if self._deadline is not None:
            self._deadline.cancel()
        limit_s = self._limit_s()
        self._deadline = None if limit_s is None else self.loop.call_later(limit_s, self.transport.abort)

    def _limit_s(self) -> float | None:
        if self.phase is Phase.UNREAD:
            return UNREAD_TIMEOUT_S
        if self.phase is Phase.HEAD or self not in self._places.owners:
            return HEAD_TIMEOUT_S
        return KEEP_ALIVE_S if self.phase is Phase.IDLE else None
