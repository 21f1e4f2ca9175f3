"""What every request has to pass before anything of it is looked at.

A page in a browser can send requests to the loopback, and a name that somebody else owns can be made to resolve to
it. So, in this order: the Host is ours, with our port; no browser speaks (no Origin, not even `null`); the token is
right; a body is JSON, and neither long nor slow. No CORS header is ever sent. Who has passed is no stranger any more
(`connections.py`).
"""

from __future__ import annotations

import asyncio
import secrets
from abc import ABC, abstractmethod
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from launchdeck.api.address import OPEN_PATH
from launchdeck.api.connections import ADMIT
from launchdeck.api.problems import MEDIA_TYPE, Problem

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BODY_BYTES: Final = 64 * 1024
BODY_TIMEOUT_S: Final = 10.0
_METHOD_WITH_BODY: Final = "POST"  # of any other the body is never read

_WRONG_HOST: Final = Problem(
    HTTPStatus.FORBIDDEN, "wrong_host", "The Host of the request is not this server's address."
)
_FOREIGN_ORIGIN: Final = Problem(
    HTTPStatus.FORBIDDEN, "foreign_origin", "Requests that a browser sends from a page are not answered."
)
_NO_TOKEN: Final = Problem(
    HTTPStatus.UNAUTHORIZED,
    "no_token",
    "The request lacks the right token. Send 'Authorization: Bearer TOKEN' with the content of runtime/api-token.",
    headers={"WWW-Authenticate": "Bearer"},
)
_NOT_JSON: Final = Problem(
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "not_json", "Send the request with 'Content-Type: application/json'."
)
_TOO_LONG: Final = Problem(
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too_long", f"The body of a request may have {MAX_BODY_BYTES} bytes."
)
_TOO_SLOW: Final = Problem(
    HTTPStatus.REQUEST_TIMEOUT,
    "too_slow",
    f"The body of a request has to be there within {BODY_TIMEOUT_S:g} s.",
    headers={"Connection": "close"},
)
_NO_PLACE: Final = Problem(
    HTTPStatus.SERVICE_UNAVAILABLE,
    "no_place",
    "Too many requests are being answered at this moment. Try again, or end a stream that nobody reads.",
)


class Gate(ABC):
    """ASGI in front of the application."""

    def __init__(self, app: ASGIApp, body_timeout_s: float = BODY_TIMEOUT_S) -> None:
        self._app = app
        self._body_timeout_s = body_timeout_s

    @abstractmethod
    def refusal(self, scope: Scope) -> Problem | None:
        """Why not; None: come in."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal = self.refusal(scope)
        if refusal is None and scope["method"] == _METHOD_WITH_BODY:
            body = await self._body(scope, receive)
            if isinstance(body, Problem):
                refusal = body
            else:
                receive = _with_body(body, receive)
        if refusal is None:
            await self._app(scope, receive, send)
        else:
            await _refuse(refusal, send)

    def refusal_of_body(self, scope: Scope) -> Problem | None:
        """The same for what may be said by whoever may speak, and is taken for the owner from here on."""
        content_type = dict(scope["headers"]).get(b"content-type", b"")
        if scope["method"] == _METHOD_WITH_BODY and not _is_json(content_type):
            return _NOT_JSON
        return None if scope["state"][ADMIT]() else _NO_PLACE

    async def _body(self, scope: Scope, receive: Receive) -> bytes | Problem:
        """The whole body. One that says it is too long is not read at all."""
        said = dict(scope["headers"]).get(b"content-length", b"0")
        if int(said) > MAX_BODY_BYTES:
            return _TOO_LONG
        body = b""
        try:
            async with asyncio.timeout(self._body_timeout_s):
                while True:
                    message = await receive()
                    piece: bytes = message.get("body", b"")
                    body += piece
                    if len(body) > MAX_BODY_BYTES:
                        return _TOO_LONG
                    if not message.get("more_body", False):
                        return body
        except TimeoutError:
            return _TOO_SLOW


class HttpGate(Gate):
    """The one of the loopback, where anybody may knock."""

    def __init__(self, app: ASGIApp, *, token: str, port: int, body_timeout_s: float = BODY_TIMEOUT_S) -> None:
        super().__init__(app, body_timeout_s)
        self._authorization = f"Bearer {token}".encode()
        self._hosts = {f"{name}:{port}".encode() for name in ("127.0.0.1", "localhost")}

    def refusal(self, scope: Scope) -> Problem | None:
        """Why not; None: come in."""
        headers: list[tuple[bytes, bytes]] = scope["headers"]
        hosts = [value.lower() for name, value in headers if name == b"host"]
        if len(hosts) != 1 or hosts[0] not in self._hosts:
            return _WRONG_HOST
        given = dict(headers)
        if b"origin" in given:
            return _FOREIGN_ORIGIN
        if scope["path"] == OPEN_PATH:
            return None
        if not secrets.compare_digest(given.get(b"authorization", b""), self._authorization):
            return _NO_TOKEN
        return self.refusal_of_body(scope)


def _is_json(content_type: bytes) -> bool:
    return content_type.partition(b";")[0].strip().lower() == b"application/json"


def _with_body(body: bytes, receive: Receive) -> Receive:
    """Give the body first, then whatever else comes: that the client has gone."""
    waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive_next() -> Message:
        return waiting.pop() if waiting else await receive()

    return receive_next


async def _refuse(problem: Problem, send: Send) -> None:
    """The connection stays for a while: closing it before the body is through would take the answer along."""
    body = problem.body()
    headers = {
        "content-type": MEDIA_TYPE,
        "content-length": str(len(body)),
        "cache-control": "no-store",
        **problem.headers,
    }
    raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": int(problem.status), "headers": raw})
    await send({"type": "http.response.body", "body": body})
