"""The smallest HTTP client there is: one request to an engine, and the status code of its answer.

Raw streams instead of a library: one request, no pool to keep, and the connection is always ended from this
side, so that no TIME_WAIT is left on the engine's port.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from typing import Any, Final

from launchdeck.domain.model import ServerType

_STATUS: Final = re.compile(rb"HTTP/1\.[01] (\d{3})")
_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d{1,6})\r", re.IGNORECASE)


async def ask_health(host: str, port: int, timeout_s: float) -> int | None:
    """The status code of GET /health; None: refused, no answer in time, or no HTTP."""
    return await _ask(host, port, timeout_s, "GET /health", "Accept: */*\r\n\r\n")


async def ask_question(
    host: str, port: int, timeout_s: float, *, api_key: str | None, model_id: str, server_type: ServerType
) -> int | None:
    """The same for the shortest question there is: one token, or one vector. What the answer says does not matter."""
    path, body = "/v1/completions", {"model": model_id, "prompt": "a", "max_tokens": 1}
    if server_type is ServerType.EMBEDDING:
        path, body = "/v1/embeddings", {"model": model_id, "input": "a"}
    return await _ask(host, port, timeout_s, f"POST {path}", _with_body(body, api_key))


def _with_body(body: dict[str, Any], api_key: str | None) -> str:
    text = json.dumps(body)
    key = "" if api_key is None else f"Authorization: Bearer {api_key}\r\n"
    return f"{key}Content-Type: application/json\r\nContent-Length: {len(text)}\r\n\r\n{text}"


async def _ask(host: str, port: int, timeout_s: float, line: str, rest: str) -> int | None:
    try:
        async with asyncio.timeout(timeout_s):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                writer.write(f"{line} HTTP/1.1\r\nHost: {host}:{port}\r\n{rest}".encode())
                return await _read_answer(reader)
            finally:
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()
    except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        return None


async def _read_answer(reader: asyncio.StreamReader) -> int | None:
    head = await reader.readuntil(b"\r\n\r\n")
    status = _STATUS.match(head)
    length = _LENGTH.search(head)
    if length:
        await reader.readexactly(int(length.group(1)))  # a close with bytes unread would reset the connection
    return int(status.group(1)) if status else None
