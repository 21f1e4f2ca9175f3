"""Questions to the outside: soon told where nobody answers, never longer than the patience, and what comes is read."""

from __future__ import annotations

import json
import socket
import threading
import time

import pytest

from fakes.socks import FakeSocks
from launchdeck.domain.errors import LaunchdeckError
from launchdeck.network import session
from launchdeck.network.addresses import is_address
from launchdeck.network.session import ask

pytestmark = pytest.mark.usefixtures("plain_network")


def refusal(url: str) -> tuple[str, float]:
    """What is said, and after how many seconds."""
    began_s = time.monotonic()
    with pytest.raises(LaunchdeckError) as told:
        ask(url)
    return str(told.value), time.monotonic() - began_s


def test_a_port_that_nobody_listens_on() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    said, after_s = refusal(f"http://127.0.0.1:{port}/")
    assert said == f"127.0.0.1:{port} does not answer: nobody takes the connection. Check the network."
    assert after_s < 2


def test_a_name_that_cannot_be_looked_up() -> None:
    said, _ = refusal("http://hub.invalid/")
    assert said == "hub.invalid does not answer: its name cannot be looked up. Check the network."


def test_a_machine_without_a_network(monkeypatch) -> None:
    """The system's own error, of a connection that cannot even be begun."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError(101, "Network is unreachable")

    monkeypatch.setattr(socket, "create_connection", refuse)
    said, after_s = refusal("http://192.0.2.1/")
    assert said == "192.0.2.1 does not answer: there is no way to it. Check the network."
    assert after_s < 2


def test_a_server_that_takes_the_connection_and_keeps_silent(monkeypatch) -> None:
    monkeypatch.setattr(session, "ANSWER_TIMEOUT_S", 0.4)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        said, after_s = refusal(f"http://127.0.0.1:{silent.getsockname()[1]}/")
    assert "nothing came within" in said
    assert after_s < 2


def test_a_server_that_says_a_word_now_and_then(monkeypatch) -> None:
    monkeypatch.setattr(session, "ANSWER_TIMEOUT_S", 0.5)
    listener = socket.create_server(("127.0.0.1", 0))

    def drip() -> None:
        client, _ = listener.accept()
        with client:
            client.recv(4096)
            client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
            try:
                while True:
                    client.sendall(b" ")
                    time.sleep(0.02)
            except OSError:
                pass

    thread = threading.Thread(target=drip, daemon=True)
    thread.start()
    with listener:
        said, after_s = refusal(f"http://127.0.0.1:{listener.getsockname()[1]}/")
        thread.join(5)
    assert "nothing came within" in said
    assert after_s < 3


@pytest.mark.parametrize("says", [b"", b"\x00\x01\x02", b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n[", b"HTTP/9 x"])
def test_a_server_that_breaks_off_or_speaks_something_else(says: bytes) -> None:
    server = FakeSocks(("127.0.0.1", 1))
    server.says = says
    try:
        said, _ = refusal(f"http://{server.address}/")
    finally:
        server.close()
    assert "the connection breaks off" in said


@pytest.mark.parametrize("location", ["ftp://127.0.0.1/x", "//[", "http://", "javascript:alert(1)"])
def test_a_server_that_leads_nowhere(server, location: str) -> None:
    server.answers = [(302, {"Location": location}, b"")]
    said, _ = refusal(f"{server.url}/api/models")
    assert "does not answer" in said


def test_a_server_that_leads_round_in_a_circle(server) -> None:
    server.answers = [(302, {"Location": "/api/models"}, b"")] * 30
    assert "it leads to an address that cannot be asked" in refusal(f"{server.url}/api/models")[0]


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({"Content-Type": "text/html; charset=utf-8"}, b""),
        ({"Content-Type": "application/json"}, b"  <!DOCTYPE html><html>log in</html>"),
        ({}, b"<html>"),
    ],
)
def test_the_log_in_page_of_a_network_is_told(server, headers: dict[str, str], body: bytes) -> None:
    server.answers = [(200, headers, body)]
    with pytest.raises(LaunchdeckError, match=r"log-in page of this network.*browser"):
        ask(f"{server.url}/api/models").document()


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b"NaN", b"[" * 100_000, b"1e999", b'"\\ud800"', b"9" * 5000])
def test_what_is_no_json_is_told(server, body: bytes) -> None:
    server.answers = [(200, {"Content-Type": "application/json"}, body)]
    with pytest.raises(LaunchdeckError, match=r"The answer of 127.0.0.1:\d+ cannot be read"):
        ask(f"{server.url}/api/models").document()


def test_an_answer_without_end_is_given_up(server, monkeypatch) -> None:
    monkeypatch.setattr(session, "ANSWER_LIMIT_BYTES", 1000)
    server.answers = [(200, {}, json.dumps(["x" * 2000]).encode())]
    assert "it is too long" in refusal(f"{server.url}/api/models")[0]


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("https://hub.test", True), ("http://127.0.0.1:80/x", True), ("http://[::1]/", True),
        ("", False), ("nonsense", False), ("ftp://x", False), ("http://", False), ("http://[", False),
        ("http://x:port", False), ("http://x:99999", False), ("http://x y", False), ("http://x\n", False),
        (None, False), (7, False), ("http://" + "x" * 5000, False), ("https:/x", False), ("http://:80", False),
    ],
)  # fmt: skip
def test_what_is_an_address(text: object, is_one: bool) -> None:
    assert is_address(text) is is_one
