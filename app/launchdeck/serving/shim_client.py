"""The application's end of a connection to a shim."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from typing import TYPE_CHECKING, Any, Self

from launchdeck.serving.shim.connection import PROTOCOL

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

logger = logging.getLogger(__name__)

MAX_LINE_BYTES = 1024 * 1024
YIELD_BYTES = 16 * 1024
ANSWER_TIMEOUT_S = 10.0
CLOSE_TIMEOUT_S = 1.0


class NewerShimError(ConnectionError):
    """A later version of Launchdeck started it, and it does not speak as this one does."""


class ShimClient:
    """One connection. Every method raises ConnectionError once the shim is not there any more.

    `status` is what the shim said at the beginning. `on_event` is called in the loop with every event, in order.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, status: dict[str, Any]) -> None:
        self.status = status
        self._reader = reader
        self._writer = writer
        self._on_event: Callable[[dict[str, Any]], None] = lambda _event: None
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._next_id = 0
        self._listening: asyncio.Task[None] | None = None

    @classmethod
    async def connect(cls, path: Path) -> Self:
        """Raises ConnectionError: nobody answers there; NewerShimError: nobody who speaks our protocol."""
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):  # one that hangs lets nobody in any more, in the end
                reader, writer = await asyncio.open_unix_connection(path, limit=MAX_LINE_BYTES)
        except OSError as error:
            raise ConnectionError(str(error)) from error
        try:
            status = await _read_hello(reader, path)
        except BaseException:
            writer.close()
            raise
        return cls(reader, writer, status)

    def listen(self, on_event: Callable[[dict[str, Any]], None]) -> asyncio.Task[None]:
        """Begin to read. The task ends when the connection ends, and never raises."""
        self._on_event = on_event
        self._listening = asyncio.create_task(self._listen())
        return self._listening

    @property
    def is_open(self) -> bool:
        return self._listening is not None and not self._listening.done()

    async def _listen(self) -> None:
        taken_bytes = 0
        try:
            while line := await self._reader.readline():
                self._take(json.loads(line))
                taken_bytes += len(line)
                if taken_bytes > YIELD_BYTES:
                    taken_bytes = 0
                    await asyncio.sleep(0)  # readline() does not yield while its buffer is full
        except OSError as error:
            logger.warning("The connection to a supervisor broke: %s", error)
        except Exception:
            logger.exception("What a supervisor said could not be taken in")
        finally:
            self._writer.close()
            for answer in self._answers.values():
                if not answer.done():
                    answer.set_exception(ConnectionResetError("the supervisor is gone"))

    def _take(self, message: dict[str, Any]) -> None:
        if "reply" not in message:
            self._on_event(message)
            return
        answer = self._answers.pop(message["reply"], None)
        if answer is not None and not answer.done():
            answer.set_result(message)

    async def ask(self, do: str, **arguments: Any) -> dict[str, Any]:
        """Send a request and wait for its answer. Only while listening."""
        if not self.is_open:
            raise ConnectionResetError("the supervisor is gone")
        self._next_id += 1
        request_id = self._next_id
        answer = self._answers[request_id] = asyncio.get_running_loop().create_future()
        try:
            self._writer.write(json.dumps({"id": request_id, "do": do} | arguments).encode() + b"\n")
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                message: dict[str, Any] = await answer
        except TimeoutError as error:
            raise ConnectionError("the supervisor does not answer") from error
        finally:
            self._answers.pop(request_id, None)
        if "error" in message:
            raise ValueError(message["error"])
        return message

    async def close(self) -> None:
        """End the connection; without `release` before, the shim takes it for the death of the application."""
        self._writer.close()
        if self._listening is not None:
            self._listening.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._listening
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self._writer.wait_closed()
        except TimeoutError:
            self._writer.transport.abort()  # what it does not read is not for it any more
        except OSError:
            return


async def _read_hello(reader: asyncio.StreamReader, path: Path) -> dict[str, Any]:
    """The status in it. Raises ConnectionError, NewerShimError."""
    try:
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            hello = json.loads(await reader.readline())
        protocol, status = int(hello["protocol"]), dict(hello["status"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConnectionError(f"no supervisor answers at {path}") from error
    if protocol > PROTOCOL:
        raise NewerShimError(f"the supervisor at {path} was started by a newer version")
    return status
