"""The other end: what the commands ask of the running application. Blocking, and nothing but the standard library."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from launchdeck.api.address import OPEN_PATH, own_hand_socket, token_file, url_file
from launchdeck.domain.errors import Cause, Failure, Fix, LaunchdeckError
from launchdeck.domain.text import Message
from launchdeck.files.reading import parse_json, read_bytes

if TYPE_CHECKING:
    from pathlib import Path

    from launchdeck.settings.paths import Paths

ANSWER_TIMEOUT_S: Final = 120.0  # stopping a model may take its time
REACH_TIMEOUT_S: Final = 2.0
SILENCE_TIMEOUT_S: Final = 60.0  # of a stream: it has a heartbeat
LET_GO_TIMEOUT_S: Final = 10.0
_DATA: Final = b"data: "
_LINE_LIMIT_BYTES: Final = 4096


class ApplicationGoneError(LaunchdeckError):
    """Nobody answers there, or not any more."""


class ApiClient:
    """Speaks to the application at this address. Every method raises LaunchdeckError with the application's words."""

    def __init__(self, url: str, token: str) -> None:
        self.url = url
        self._token = token
        self._address = urlsplit(url)

    @classmethod
    def find(cls, paths: Paths) -> ApiClient | None:
        """The application that runs, by the files it keeps; None if none does."""
        try:
            url = read_bytes(url_file(paths), _LINE_LIMIT_BYTES).decode().strip()
            client = cls(url, read_bytes(token_file(paths), _LINE_LIMIT_BYTES).decode().strip())
        except (OSError, ValueError):  # ValueError: it holds no address
            return None
        return client if client.answers() else None

    def answers(self) -> bool:
        """Whether Launchdeck is there, and not a program that has got the port of one that died."""
        try:
            with self._ask("GET", OPEN_PATH, timeout_s=REACH_TIMEOUT_S) as response:
                return response.status == HTTPStatus.NO_CONTENT
        except ApplicationGoneError:
            return False

    def get(self, path: str) -> Any:
        return self._read(self._ask("GET", path))

    def post(self, path: str, body: dict[str, Any]) -> Any:
        return self._read(self._ask("POST", path, json.dumps(body).encode()))

    def stream(self, path: str) -> Iterator[Any]:
        """The documents of a stream, for as long as there are any."""
        with self._ask("GET", path, timeout_s=SILENCE_TIMEOUT_S) as response:
            if response.status != HTTPStatus.OK:
                raise _refusal(response.status, response.read())
            try:
                for line in response:
                    if line.startswith(_DATA):
                        yield parse_json(line[len(_DATA) :])
            except (OSError, HTTPException, ValueError) as error:
                raise _gone(self.url, error) from error

    def hand_over(self) -> None:
        """Have a 'launchdeck serve' end and leave its models to us; returns when it has."""
        self.post("/api/management/handover", {})
        deadline_s = time.monotonic() + LET_GO_TIMEOUT_S
        while self.answers() and time.monotonic() < deadline_s:
            time.sleep(0.05)

    def _ask(
        self, method: str, path: str, body: bytes | None = None, *, timeout_s: float = ANSWER_TIMEOUT_S
    ) -> HTTPResponse:
        headers = {"Content-Type": "application/json", "Connection": "close"}  # it ends with its answer
        if path != OPEN_PATH:
            headers["Authorization"] = f"Bearer {self._token}"
        connection = None
        try:
            connection = self._connection(timeout_s)
            connection.request(method, path, body, headers)
            return connection.getresponse()
        except (OSError, HTTPException, ValueError) as error:  # ValueError: an address or a token that can be none
            if connection is not None:
                connection.close()
            raise _gone(self.url, error) from error

    def _connection(self, timeout_s: float) -> HTTPConnection:
        return HTTPConnection(self._address.hostname or "", self._address.port, timeout=timeout_s)

    def _read(self, response: HTTPResponse) -> Any:
        with response:
            body = response.read()
        if response.status >= HTTPStatus.BAD_REQUEST:
            raise _refusal(response.status, body)
        try:
            return parse_json(body)
        except ValueError as error:
            raise _gone(self.url, error) from error


class OwnHandClient(ApiClient):
    """Speaks to the application through the socket for the user's own hand, which takes no token."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"http://localhost{path}", "")
        self._path = path

    @classmethod
    def at(cls, paths: Paths) -> OwnHandClient | None:
        """The socket of the application that runs; None: it has none, say because it is of an older version."""
        path = own_hand_socket(paths)
        return cls(path) if hasattr(socket, "AF_UNIX") and path.exists() else None

    def _connection(self, timeout_s: float) -> HTTPConnection:
        return _SocketConnection(self._path, timeout_s)


class _SocketConnection(HTTPConnection):
    def __init__(self, path: Path, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def _gone(url: str, error: Exception) -> ApplicationGoneError:
    return ApplicationGoneError(
        Failure(
            Cause.NOT_READY,
            Message("Launchdeck at {url} does not answer: {reason}.", url=url, reason=error),
            Message("Start it again."),
        )
    )


def _refusal(status: int, body: bytes) -> LaunchdeckError:
    """The application's own words; of a refusal that has none (too many connections) the number."""
    try:
        problem = parse_json(body)
        cause = problem.get("cause") or (Cause.NOT_FOUND if status == HTTPStatus.NOT_FOUND else Cause.BAD_REQUEST)
        return LaunchdeckError(failure_of(problem | {"cause": cause, "message": problem["detail"]}))
    except (ValueError, KeyError, TypeError, AttributeError):
        return LaunchdeckError.of(
            Cause.NOT_READY,
            Message("Launchdeck refused this without a word (HTTP {status}).", status=status),
            Message("Try again in a moment."),
        )


def failure_of(document: dict[str, Any]) -> Failure:
    """A failure out of its document. The words are the application's: they have been put together already."""
    fixes = tuple(Fix(_words(fix["label"]), tuple(fix["changes"].items())) for fix in document.get("fixes", ()))
    return Failure(
        Cause(document["cause"]),
        _words(document["message"]),
        _words(document["advice"]) if document.get("advice") else None,
        tuple(document.get("evidence", ())),
        fixes,
    )


def _words(text: str) -> Message:
    return Message("{words}", words=text)
