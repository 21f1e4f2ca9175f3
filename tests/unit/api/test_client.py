"""The commands' end: whom they trust, and what they make of an answer."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from launchdeck.api.address import token_file, url_file
from launchdeck.api.client import ApiClient, failure_of
from launchdeck.api.documents import failure_document
from launchdeck.domain.errors import Cause, Failure, Fix, LaunchdeckError
from launchdeck.domain.text import Message
from launchdeck.settings.paths import Paths


class Stranger(BaseHTTPRequestHandler):
    """A program that has got the port of an application that died; `heard` is what it was sent."""

    heard: list[str]
    status: int
    says: bytes = b"Service Unavailable"

    def do_GET(self) -> None:
        self.heard.append(str(self.headers))
        self.send_response(self.status)
        self.end_headers()
        if self.status != 204:
            self.wfile.write(self.says)

    def log_message(self, *_arguments: object) -> None:
        pass


@pytest.fixture
def stranger() -> Iterator[type[Stranger]]:
    """Serves at the address in the runtime folder."""
    handler = type("Handler", (Stranger,), {"heard": [], "status": 200})
    with HTTPServer(("127.0.0.1", 0), handler) as server:
        paths = Paths.resolve()
        paths.create()
        url_file(paths).write_text(f"http://127.0.0.1:{server.server_port}")
        token_file(paths).write_text("secret")
        serving = threading.Thread(target=server.serve_forever, args=(0.02,))
        serving.start()
        yield handler
        server.shutdown()
        serving.join()


def test_a_program_on_the_port_of_a_dead_application_gets_no_token(stranger: type[Stranger]) -> None:
    assert ApiClient.find(Paths.resolve()) is None
    assert len(stranger.heard) == 1
    assert "secret" not in stranger.heard[0]


@pytest.mark.parametrize("proxy", ["http://127.0.0.1:9", "socks5://127.0.0.1:9", "nonsense"])
def test_it_is_asked_through_no_proxy(
    stranger: type[Stranger], plain_network: None, monkeypatch: pytest.MonkeyPatch, proxy: str
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, proxy)
    stranger.status = 204
    assert ApiClient.find(Paths.resolve()) is not None


@pytest.mark.parametrize(
    "url",
    ["", "nonsense", "http://", "http://127.0.0.1:port", "http://127.0.0.1:99999", "http://[", "http://x y:1", "\0"],
)
def test_an_address_that_is_none_is_nobody(url: str) -> None:
    paths = Paths.resolve()
    paths.create()
    token_file(paths).write_text("secret")
    url_file(paths).write_text(url)
    assert ApiClient.find(paths) is None


def test_files_that_are_none_are_nobody() -> None:
    paths = Paths.resolve()
    paths.create()
    token_file(paths).write_text("secret")
    url_file(paths).write_bytes(b"http://127.0.0.1:\xff")
    assert ApiClient.find(paths) is None
    url_file(paths).unlink()
    os.mkfifo(url_file(paths))
    assert ApiClient.find(paths) is None
    url_file(paths).unlink()
    url_file(paths).write_text("http://127.0.0.1:1")
    token_file(paths).unlink()
    token_file(paths).mkdir()
    assert ApiClient.find(paths) is None


@pytest.mark.parametrize("says", ["", "[", "null", "5", '"x"', '{"cause": 7, "detail": []}', "[" * 5000])
def test_an_answer_that_makes_no_sense_is_told(stranger: type[Stranger], says: str) -> None:
    stranger.says = says.encode()
    client = ApiClient(url_file(Paths.resolve()).read_text(), "t")
    for stranger.status in (200, 500):
        with suppress(LaunchdeckError):
            client.get("/x")


def test_a_refusal_without_words_is_told(stranger: type[Stranger]) -> None:
    stranger.status = 503
    client = ApiClient(url_file(Paths.resolve()).read_text(), "t")
    for ask in (client.get, lambda path: list(client.stream(path))):
        with pytest.raises(LaunchdeckError, match="HTTP 503"):
            ask("/x")


def test_a_failure_comes_through_whole() -> None:
    failure = Failure(
        Cause.OUT_OF_MEMORY,
        Message("No room."),
        Message("Make some."),
        ("line 1", "line 2"),
        (Fix(Message("Run on the CPU"), (("gpu_uuids", []), ("n_gpu_layers", 0))),),
    )
    assert failure_document(failure_of(failure_document(failure))) == failure_document(failure)
