"""The interface on its port, in the event loop of the application it belongs to.

uvicorn's own `serve` takes over the process's signals and ticks ten times a second; what is needed of it is the
protocol, so the server is started and shut down by hand.
"""

from __future__ import annotations

import asyncio
import secrets
import socket
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final, cast

from uvicorn import Config, Server

from launchdeck.api.address import take_back_address, token_file, url_file
from launchdeck.api.application import asgi_application
from launchdeck.api.connections import BACKLOG, KEEP_ALIVE_S, Connection, Places
from launchdeck.api.own_hand import OwnHandConnection, OwnHandSocket, listen, own_hand_application
from launchdeck.domain.errors import Cause, LaunchdeckError
from launchdeck.domain.text import Message
from launchdeck.files.replacing import replace_text

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from launchdeck.api.backend import Backend

HOST: Final = "127.0.0.1"
TOKEN_BYTES: Final = 32
MAX_HEAD_BYTES: Final = 32 * 1024
SEND_BUFFER_BYTES: Final = 64 * 1024
SHUTDOWN_TIMEOUT_S: Final = 1


class ApiServer:
    """`url` and `token` hold from start to close; both stand in files in the runtime folder as well."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.url = ""
        self.token = ""
        self.places = Places()
        self._server: Server | None = None
        self._socket: socket.socket | None = None
        self._own_server: Server | None = None
        self._own_hand: OwnHandSocket | None = None

    async def start(self, port: int) -> None:
        """Listen on this port of the loopback; 0 means any that is free.

        Raises:
            LaunchdeckError: another program has the port.
        """
        self._socket = _listen(port)
        port = self._socket.getsockname()[1]
        self.token = secrets.token_urlsafe(TOKEN_BYTES)
        self.url = f"http://{HOST}:{port}"
        application = asgi_application(self.backend, token=self.token, port=port)
        self._server = await _serve(application, partial(Connection, self.places), self._socket)
        await self._open_to_own_hand()
        self._leave_address()

    async def _open_to_own_hand(self) -> None:
        self._own_hand = listen(self.backend.setup.paths)
        if self._own_hand is not None:
            protocol = partial(OwnHandConnection, Places())
            self._own_server = await _serve(own_hand_application(self.backend), protocol, self._own_hand.listener)

    def _leave_address(self) -> None:
        """Where programs of this user find it. Raises LaunchdeckError."""
        paths = self.backend.setup.paths
        for file, text in ((token_file(paths), self.token), (url_file(paths), self.url)):
            try:
                replace_text(file, text)
            except OSError as error:
                raise LaunchdeckError.of(
                    Cause.START_FAILED,
                    Message(
                        "The HTTP interface is off: {path} cannot be written ({reason}).",
                        path=file,
                        reason=error.strerror,
                    ),
                    Message("Remove what lies there, then start again."),
                ) from error

    async def close(self) -> None:
        """End every stream and connection, and take the files away."""
        self.backend.close()
        if self._server is not None:
            take_back_address(self.backend.setup.paths, self.url)
            await self._server.shutdown([self._socket] if self._socket else None)
            self._server = None
        if self._own_server is not None and self._own_hand is not None:
            self._own_hand.remove()
            await self._own_server.shutdown([self._own_hand.listener])
            self._own_server = None


async def _serve(application: ASGIApp, protocol: Callable[..., Connection], listener: socket.socket) -> Server:
    config = Config(
        application,
        http=cast("type[asyncio.Protocol]", protocol),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        backlog=BACKLOG,
        h11_max_incomplete_event_size=MAX_HEAD_BYTES,
        timeout_keep_alive=round(KEEP_ALIVE_S),
        timeout_graceful_shutdown=SHUTDOWN_TIMEOUT_S,
    )
    config.load()
    server = Server(config)
    server.lifespan = config.lifespan_class(config)
    await server.startup([listener])
    return server


def _listen(port: int) -> socket.socket:
    """Raises LaunchdeckError."""
    # asyncio switches Nagle's algorithm off only where the protocol is named: 40 ms an answer otherwise
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # what a reader of events does not take piles up here, not in the kernel, where nobody would see that it is slow
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
    try:
        listener.bind((HOST, port))
    except OSError as error:
        listener.close()
        raise LaunchdeckError.of(
            Cause.PORT_TAKEN,
            Message(
                "The HTTP interface is off: port {port} cannot be used ({reason}).", port=port, reason=error.strerror
            ),
            Message("Choose another port in the settings, or start with --api-port 0 for any free one."),
        ) from error
    return listener
