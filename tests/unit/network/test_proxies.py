"""Proxies by the environment: which one an address is asked through, and those that cannot be used."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fakes.hub import FakeHub
from fakes.socks import FakeSocks
from launchdeck.domain.errors import LaunchdeckError
from launchdeck.network.proxies import proxy_for
from launchdeck.network.session import ask

pytestmark = pytest.mark.usefixtures("plain_network")


@pytest.fixture
def socks(server: FakeHub) -> Iterator[FakeSocks]:
    socks = FakeSocks(("127.0.0.1", server.server_address[1]))
    yield socks
    socks.close()


@pytest.mark.parametrize(
    ("variable", "value", "url", "through"),
    [
        ("HTTPS_PROXY", "http://p:1", "https://hub.test/x", "http://p:1"),
        ("HTTPS_PROXY", "http://p:1", "http://hub.test/x", None),
        ("http_proxy", "p:1", "http://hub.test", "http://p:1"),
        ("ALL_PROXY", "socks5://p:1", "https://hub.test", "socks5://p:1"),
        ("all_proxy", "socks5h://p:1", "http://hub.test", "socks5h://p:1"),
        ("ALL_PROXY", "socks://p:1/", "https://hub.test", "socks5://p:1"),  # GNOME's
        ("ALL_PROXY", "SOCKS5://p:1", "https://hub.test", "socks5://p:1"),
        ("https_proxy", "https://p", "https://hub.test", "https://p"),
        ("https_proxy", "", "https://hub.test", None),
        ("https_proxy", "  ", "https://hub.test", None),
    ],
)
def test_the_variable_that_counts(monkeypatch, variable: str, value: str, url: str, through: str | None) -> None:
    monkeypatch.setenv(variable, value)
    proxy = proxy_for(url)
    assert (proxy and proxy.url) == through
    assert through is None or proxy.source == variable


def test_the_scheme_comes_before_all_and_small_letters_before_large_ones(monkeypatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "http://all:1")
    monkeypatch.setenv("HTTPS_PROXY", "http://large:1")
    assert proxy_for("https://hub.test").url == "http://large:1"
    monkeypatch.setenv("https_proxy", "http://small:1")
    assert proxy_for("https://hub.test").url == "http://small:1"
    assert proxy_for("https://hub.test").source == "https_proxy"
    assert proxy_for("http://hub.test").url == "http://all:1"


@pytest.mark.parametrize(
    ("listed", "host", "is_direct"),
    [
        ("*", "hub.test", True),
        ("hub.test", "hub.test", True),
        (".test", "hub.test", True),
        ("*.test", "hub.test", True),
        ("test", "hub.test", True),
        ("est", "hub.test", False),
        ("HUB.test, x", "hub.test", True),
        ("hub.test:443", "hub.test", True),
        ("hub.test:444", "hub.test", False),
        ("10.0.0.0/8", "10.1.2.3", True),
        ("10.0.0.0/8", "11.1.2.3", False),
        ("10.1.2.3", "10.1.2.3", True),
        ("::1", "[::1]", True),
        ("[::1]:443", "[::1]", True),
        ("https://hub.test", "hub.test", True),
        (",,[,/,%,hub.test:99999999999999", "hub.test", False),
    ],
)
def test_what_no_proxy_names_is_asked_directly(monkeypatch, listed: str, host: str, is_direct: bool) -> None:
    monkeypatch.setenv("ALL_PROXY", "http://p:1")
    monkeypatch.setenv("NO_PROXY", listed)
    assert (proxy_for(f"https://{host}/x") is None) is is_direct


@pytest.mark.parametrize(
    "value",
    ["socks4://p:1", "socks4a://p:1", "ftp://p:1", "http://", "socks5://", "http://p:port", "http://[::",
     "http://a b:1", "://", "http://p:0", "http://p:99999", "nonsense with spaces"],
)  # fmt: skip
def test_one_that_cannot_be_used_is_named_with_its_variable(monkeypatch, value: str) -> None:
    monkeypatch.setenv("ALL_PROXY", value)
    with pytest.raises(LaunchdeckError, match=r"ALL_PROXY names the proxy .* cannot be used.*socks5://HOST:PORT"):
        proxy_for("https://hub.test")


@pytest.mark.parametrize("value", ["socks4://me:secret@p:1", "http://me:secret@p:port", "http://me:secret@[::"])
def test_a_password_is_shown_nowhere(monkeypatch, value: str) -> None:
    monkeypatch.setenv("ALL_PROXY", value)
    with pytest.raises(LaunchdeckError) as refusal:
        proxy_for("https://hub.test")
    assert "secret" not in str(refusal.value)
    monkeypatch.setenv("ALL_PROXY", "http://me:secret@p:1")
    proxy = proxy_for("https://hub.test")
    assert "secret" not in repr(proxy)
    assert proxy.shown == "http://p:1"


@pytest.mark.parametrize("scheme", ["socks5", "socks5h", "socks"])
def test_a_socks_proxy_is_asked_for_names_that_only_it_knows(monkeypatch, socks, scheme: str) -> None:
    monkeypatch.setenv("ALL_PROXY", f"{scheme}://{socks.address}")
    assert ask("http://hub.test/api/models").document() == [{"id": "them/Tiny-GGUF"}]
    assert socks.asked == [("hub.test", 80)]


def test_a_socks_proxy_gets_its_name_and_password(monkeypatch, socks) -> None:
    socks.wants_credentials = True
    monkeypatch.setenv("ALL_PROXY", f"socks5://me:s%3Acret@{socks.address}")
    ask("http://hub.test/api/models")
    assert socks.credentials == [("me", "s:cret")]
    monkeypatch.setenv("ALL_PROXY", f"socks5://{socks.address}")
    with pytest.raises(LaunchdeckError, match=r"The proxy socks5://127.* \(ALL_PROXY\) does not connect"):
        ask("http://hub.test/api/models")


@pytest.mark.parametrize("reply", [1, 2, 3, 4, 5, 6, 8, 99])
def test_a_socks_proxy_that_refuses_is_told(monkeypatch, socks, reply: int) -> None:
    socks.reply = reply
    monkeypatch.setenv("ALL_PROXY", f"socks5://{socks.address}")
    with pytest.raises(LaunchdeckError, match=r"The proxy .* \(ALL_PROXY\) does not connect to hub.test: "):
        ask("http://hub.test/api/models")


@pytest.mark.parametrize(
    "says", [b"", b"\x05", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x04\x00", b"\x05\x09", bytes(300)]
)
def test_what_does_not_speak_socks_is_told(monkeypatch, socks, says: bytes) -> None:
    socks.says = says
    monkeypatch.setenv("ALL_PROXY", f"socks5://{socks.address}")
    with pytest.raises(LaunchdeckError, match=r"The proxy .* \(ALL_PROXY\) does not"):
        ask("http://hub.test/api/models")


def test_a_socks_proxy_that_keeps_silent_is_given_up(monkeypatch, socks) -> None:
    socks.silent = True
    monkeypatch.setattr("launchdeck.network.session.CONNECT_TIMEOUT_S", 0.2)
    monkeypatch.setenv("ALL_PROXY", f"socks5://{socks.address}")
    with pytest.raises(
        LaunchdeckError, match=r"The proxy .* \(ALL_PROXY\) does not connect.*does not answer to SOCKS5"
    ):
        ask("http://hub.test/api/models")


@pytest.mark.parametrize("scheme", ["http", "https", "socks5"])
def test_a_proxy_that_is_not_there_is_told(monkeypatch, socks, scheme: str) -> None:
    socks.close()
    monkeypatch.setenv("ALL_PROXY", f"{scheme}://{socks.address}")
    with pytest.raises(
        LaunchdeckError, match=r"The proxy .* \(ALL_PROXY\) does not answer.*nobody takes the connection"
    ):
        ask("http://hub.test/api/models")


def test_a_redirect_to_another_host_takes_that_hosts_own_way(monkeypatch, server, socks) -> None:
    monkeypatch.setenv("ALL_PROXY", f"socks5://{socks.address}")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    there = FakeHub()
    there.leads_to = "http://hub.test"
    try:
        answer = ask(f"{there.url}/them/Tiny-GGUF/resolve/main/tiny.gguf")
    finally:
        there.shutdown()
        there.server_close()
    assert answer.body == b"tiny"
    assert socks.asked == [("hub.test", 80)]
