"""The smallest HTTP client there is: one GET /health, and its status code.

Raw streams instead of a library: one request line, no pool to keep, and the connection is always ended from this
side, so that no TIME_WAIT is left on the engine's port.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from typing import Final

_STATUS: Final = re.compile(rb"HTTP/1\.[01] (\d{3})")
_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d{1,6})\r", re.IGNORECASE)


async def ask_health(host: str, port: int, timeout_s: float) -> int | None:
    """The status code of GET /health; None: refused, no answer in time, or no HTTP."""
    try:
        async with asyncio.timeout(timeout_s):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                return await _ask(reader, writer, f"{host}:{port}")
            finally:
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()
    except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        return None


async def _ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, authority: str) -> int | None:
    writer.write(f"GET /health HTTP/1.1\r\nHost: {authority}\r\nAccept: */*\r\n\r\n".encode())
    head = await reader.readuntil(b"\r\n\r\n")
    status = _STATUS.match(head)
    length = _LENGTH.search(head)
    if length:
        await reader.readexactly(int(length.group(1)))  # a close with bytes unread would reset the connection
    return int(status.group(1)) if status else None
