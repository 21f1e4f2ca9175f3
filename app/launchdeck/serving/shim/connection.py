"""One client of a shim: requests and answers, and the log at the speed the client can bear. Imported by the shim.

Lines of JSON both ways. A request is {"id", "do", ...}, its answer {"reply": id, ...} or {"reply": id, "error"};
{"event", ...} comes unasked. Nothing is queued for a follower but one batch: it has a place in the log, and what it
is too slow for is left out and said so. A batch is what a window reads between two frames, in bytes and in lines: an
engine that floods is thinned out here, and costs the window no more than one that chatters.
"""

from __future__ import annotations

import binascii
import json
import socket
import time

from launchdeck.serving.shim.log import LogWriter

PROTOCOL = 1
"""Raised when an older application would misunderstand a shim. Shims outlive upgrades: the application speaks with
older ones as they do.
"""
MAX_REQUEST_BYTES = 256 * 1024
RECV_BYTES = 64 * 1024
BATCH_BYTES = 32 * 1024
BATCH_LINES = 1024
BATCH_INTERVAL_S = 0.2
MAX_BEHIND_BYTES = 1024 * 1024
MAX_UNREAD_BYTES = 4 * 1024 * 1024

TYPE_CHECKING = False  # `typing` is not worth its import time here
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


class Connection:
    """`is_holder`: its end, unless released, is the death of the application. `was_told`: of the engine's end."""

    def __init__(self, sock: socket.socket, log: LogWriter, head_bytes: int) -> None:
        sock.setblocking(False)
        self.socket = sock
        self.is_holder = False
        self.is_open = True
        self.was_told = False
        self._log = log
        self._head_bytes = head_bytes
        self._input = bytearray()
        self._output = bytearray()
        self._position: int | None = None
        self._live_from = 0
        self._next_batch_s = 0.0

    @property
    def is_following(self) -> bool:
        return self._position is not None

    @property
    def wants_to_write(self) -> bool:
        return bool(self._output)

    def send(self, message: dict[str, Any]) -> None:
        self._output += json.dumps(message).encode() + b"\n"
        if len(self._output) > MAX_UNREAD_BYTES:
            self.is_open = False
        self.flush()

    def flush(self) -> None:
        """Write what the socket takes now."""
        try:
            while self.is_open and self._output:
                del self._output[: self.socket.send(self._output)]
        except BlockingIOError:
            return
        except OSError:
            self.is_open = False

    def receive(self, answer: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        """Read what is there, and answer every complete request. Nonsense ends the connection."""
        try:
            data = self.socket.recv(RECV_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self._input += data
        *lines, rest = self._input.split(b"\n")
        self._input = bytearray(rest)
        if not data or len(rest) > MAX_REQUEST_BYTES:
            self.is_open = False
        for line in lines:
            self._answer_line(bytes(line), answer)

    def _answer_line(self, line: bytes, answer: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        try:
            request = json.loads(line)
            reply = {"reply": request["id"]}
        except (ValueError, TypeError, KeyError, RecursionError):
            self.is_open = False
            return
        try:
            reply |= answer(request)
        except (KeyError, TypeError, ValueError, ArithmeticError) as error:
            reply["error"] = f"{type(error).__name__}: {error}"
        self.send(reply)

    def follow(self, offset: int) -> None:
        """From now on send the log: what there is from `offset` on, then what comes, and at last that it has ended."""
        self.was_told = False
        self._position = offset
        self._live_from = self._log.end

    def hurry(self) -> None:
        """The next batch need not wait for its time."""
        self._next_batch_s = 0.0

    def pump(self, *, hurry: bool) -> bool:
        """Send the next batch if it is time, at once in a hurry. Whether the follower has everything there is."""
        if self._position is None:
            return True
        while self._position < self._log.end and not self._output and self.is_open:
            is_history = hurry or self._position < self._live_from
            now_s = time.monotonic()
            if not is_history and now_s < self._next_batch_s:
                break
            self._next_batch_s = now_s + BATCH_INTERVAL_S
            self._send_batch(MAX_BEHIND_BYTES if is_history else BATCH_BYTES)
        return self._position >= self._log.end and not self._output

    def _send_batch(self, keep_bytes: int) -> None:
        """A follower that is too far behind, and past the head, goes on with the last `keep_bytes`."""
        position = wanted = self._position or 0
        if position >= self._head_bytes and self._log.end - position > MAX_BEHIND_BYTES:
            position = self._log.end - keep_bytes
        position, data = self._log.read(position, BATCH_BYTES)
        lines = data.splitlines(keepends=True)
        if len(lines) > BATCH_LINES:
            data = b"".join(lines[:BATCH_LINES])
        if position > wanted:
            self.send({"event": "dropped", "size": position - wanted})
        self._position = position + len(data)
        text = binascii.b2a_base64(data, newline=False).decode()
        self.send({"event": "log", "end": self._position, "data": text})

    @property
    def next_batch_s(self) -> float | None:
        """When `pump` has something to do (monotonic seconds), None: nothing to send, or the client has to read."""
        if self._position is None or self._position >= self._log.end or self._output:
            return None
        return self._next_batch_s

    def close(self) -> None:
        self.is_open = False
        self.socket.close()
