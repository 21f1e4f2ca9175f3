"""Server-sent events: numbered, with a heartbeat, and never more in memory than a few events a reader.

A reader that does not keep up is dropped: its queue is full, or it takes nothing for `SEND_TIMEOUT_S`. It can come
back with `Last-Event-ID` and gets what it missed, as far as that is still kept.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import secrets
from collections import deque
from collections.abc import AsyncGenerator, Callable
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

logger = logging.getLogger(__name__)

HEARTBEAT_S: Final = 15.0
HEARTBEAT: Final = b": heartbeat\n\n"
QUEUE_EVENTS: Final = 32
SEND_TIMEOUT_S: Final = 10.0
NUMBER: Final = re.compile("[0-9]{1,15}")
ABORT: Final = "launchdeck.abort"

_HEADERS: Final = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
]
Parts = AsyncGenerator[bytes, None]


def event(event_id: str, data: bytes) -> bytes:
    """One event; `data` is JSON, which has no line breaks."""
    return b"id: %s\ndata: %s\n\n" % (event_id.encode(), data)


class Channel:
    """One kind of news for any number of readers.

    Identifiers are a number behind the mark of this start, so that one from an earlier start is not taken for one of
    this.
    """

    def __init__(self, *, kept: int, heartbeat_s: float = HEARTBEAT_S) -> None:
        self._kept: deque[tuple[int, bytes]] = deque(maxlen=kept)
        self._heartbeat_s = heartbeat_s
        self._mark = secrets.token_hex(3)
        self._number = 0
        self._readers: set[asyncio.Queue[bytes | None]] = set()

    @property
    def reader_count(self) -> int:
        return len(self._readers)

    def publish(self, data: bytes) -> None:
        """Hand this to every reader; one whose queue is full is dropped."""
        self._number += 1
        part = event(self._id(self._number), data)
        self._kept.append((self._number, part))
        for queue in tuple(self._readers):
            try:
                queue.put_nowait(part)
            except asyncio.QueueFull:
                logger.info("A reader of events was dropped: it did not keep up.")
                self._drop(queue)

    async def follow(self, last_id: str | None, current: Callable[[], bytes | None] = lambda: None) -> Parts:
        """What this reader has missed, or how things stand now where that is not known; then all that comes.

        `current` gives the data of how things stand. The generator ends when the reader is dropped.
        """
        queue: asyncio.Queue[bytes | None] = asyncio.Queue(QUEUE_EVENTS)
        missed = self._missed(last_id)
        now = current() if missed is None else None
        self._readers.add(queue)
        try:
            for part in missed or ():
                yield part
            if now is not None:
                yield event(self._id(self._number), now)
            while True:
                try:
                    async with asyncio.timeout(self._heartbeat_s):
                        following = await queue.get()
                except TimeoutError:
                    yield HEARTBEAT
                    continue
                if following is None:
                    return
                yield following
        finally:
            self._readers.discard(queue)

    def _drop(self, queue: asyncio.Queue[bytes | None]) -> None:
        self._readers.discard(queue)
        while not queue.empty():
            queue.get_nowait()
        queue.put_nowait(None)

    def _missed(self, last_id: str | None) -> list[bytes] | None:
        """What came after this event; None if we cannot tell, or do not have all of it any more."""
        mark, _, text = (last_id or "").partition("-")
        if mark != self._mark or not NUMBER.fullmatch(text):
            return None
        last = int(text)
        missed = [part for number, part in self._kept if number > last]
        return missed if len(missed) == self._number - last else None

    def _id(self, number: int) -> str:
        return f"{self._mark}-{number}"


class EventStream:
    """A response that goes on until the reader goes, `closing` is set, or the parts end."""

    def __init__(self, parts: Parts, closing: asyncio.Event, send_timeout_s: float = SEND_TIMEOUT_S) -> None:
        self._parts = parts
        self._closing = closing
        self._send_timeout_s = send_timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
        if scope["method"] == "HEAD":
            await send({"type": "http.response.body", "body": b""})
            return
        writing = asyncio.create_task(self._write(send))
        others = [asyncio.create_task(_gone(receive)), asyncio.create_task(self._closing.wait())]
        try:
            await asyncio.wait([writing, *others], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (writing, *others):
                task.cancel()
            outcome, *_ = await asyncio.gather(writing, *others, return_exceptions=True)
            await self._parts.aclose()
        if not await self._say_goodbye(send, outcome):
            scope["state"][ABORT]()

    async def _write(self, send: Send) -> None:
        """Raises TimeoutError: the reader takes nothing."""
        async for part in self._parts:
            async with asyncio.timeout(self._send_timeout_s):
                await send({"type": "http.response.body", "body": part, "more_body": True})

    async def _say_goodbye(self, send: Send, outcome: object) -> bool:
        """End the response in order. False: this reader does not take even that."""
        if isinstance(outcome, TimeoutError):
            logger.info("A reader of events was dropped: it took nothing for %g s.", self._send_timeout_s)
            return False
        if isinstance(outcome, Exception):
            logger.error("A stream of events failed", exc_info=outcome)
            return False
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._send_timeout_s / 10):
                await send({"type": "http.response.body", "body": b"", "more_body": False})
                return True
        return False


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
