"""The one way in which anything is asked of the outside: through the proxy that is meant for it, with the certificates
that are trusted here, and never for longer than the patience.

What we ask of this machine (the engines, our own HTTP interface) has no business here: it goes through no proxy.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import httpx

from launchdeck.domain.text import Message
from launchdeck.files.reading import parse_json
from launchdeck.network.certificates import trust
from launchdeck.network.failures import connection_failed, host_of, login_page, too_slow, unreadable
from launchdeck.network.proxies import Proxy, proxy_for
from launchdeck.network.socks import SocksTransport

CONNECT_TIMEOUT_S: Final = 10.0
READ_TIMEOUT_S: Final = 30.0
ANSWER_TIMEOUT_S: Final = 15.0
ANSWER_LIMIT_BYTES: Final = 16 << 20


class _Route(httpx.BaseTransport):
    """Asks every address through its own proxy: a server may lead to another one, which has another way."""

    def __init__(self) -> None:
        self._trust = trust()
        self._ways: dict[str, httpx.HTTPTransport] = {}

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        url = str(request.url)
        proxy = proxy_for(url)
        try:
            return self._way(proxy).handle_request(request)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError) as error:
            raise connection_failed(error, url, proxy) from error

    def _way(self, proxy: Proxy | None) -> httpx.HTTPTransport:
        key = proxy.url if proxy else ""
        if key not in self._ways:
            self._ways[key] = self._new_way(proxy)
        return self._ways[key]

    def _new_way(self, proxy: Proxy | None) -> httpx.HTTPTransport:
        if proxy is not None and proxy.url.startswith("socks"):
            return SocksTransport(proxy.url, self._trust)
        through = None
        if proxy is not None:
            through = httpx.Proxy(proxy.url, ssl_context=self._trust if proxy.url.startswith("https:") else None)
        return httpx.HTTPTransport(verify=self._trust, trust_env=False, proxy=through)

    def close(self) -> None:
        for way in self._ways.values():
            way.close()


@contextmanager
def session(read_timeout_s: float = READ_TIMEOUT_S) -> Iterator[httpx.Client]:
    """A client for the outside. Redirects are followed; a key goes to no other host than the one it was meant for.

    Raises:
        LaunchdeckError: in `with`, and of whatever is asked: the certificates, the proxy or the network are in the way.
    """
    timeout = httpx.Timeout(read_timeout_s, connect=CONNECT_TIMEOUT_S)
    with httpx.Client(transport=_Route(), trust_env=False, timeout=timeout, follow_redirects=True) as client:
        yield client


@dataclass(frozen=True, slots=True)
class Answer:
    """`headers` have names in small letters; `url` is the address that answered in the end."""

    url: str
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def is_redirect(self) -> bool:
        return 300 <= self.status < 400 and "location" in self.headers

    def document(self) -> Any:
        """What it holds as JSON. Raises LaunchdeckError: none, say because a network's log-in page came instead."""
        if is_page(self.headers) or self.body.lstrip()[:1] == b"<":
            raise login_page(host_of(self.url))
        try:
            return parse_json(self.body)
        except ValueError as error:
            raise unreadable(host_of(self.url), Message("it is no JSON")) from error


def is_page(headers: Mapping[str, str]) -> bool:
    """Whether what comes is a page for people."""
    return headers.get("content-type", "").partition(";")[0].strip().lower() in {"text/html", "application/xhtml+xml"}


def ask(
    url: str,
    *,
    method: str = "GET",
    params: Mapping[str, str | int] | None = None,
    headers: Mapping[str, str] | None = None,
    follows: bool = True,
) -> Answer:
    """Ask once and read the answer, whatever its status. Blocking: belongs into a background thread.

    Raises:
        LaunchdeckError: nobody answers within the patience, or not in a way that can be read.
    """
    deadline_s = time.monotonic() + ANSWER_TIMEOUT_S
    with (
        session(ANSWER_TIMEOUT_S) as client,
        _told(url),
        client.stream(method, url, params=params, headers=headers, follow_redirects=follows) as answer,
    ):
        body = _read(answer, deadline_s, url)
        return Answer(str(answer.url), answer.status_code, dict(answer.headers), body)


@contextmanager
def _told(url: str) -> Iterator[None]:
    """Raises LaunchdeckError for what httpx raises meanwhile about this address."""
    try:
        yield
    except httpx.TimeoutException as error:
        raise too_slow(host_of(url), ANSWER_TIMEOUT_S) from error
    except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
        raise connection_failed(error, url, None) from error


def _read(answer: httpx.Response, deadline_s: float, url: str) -> bytes:
    body = bytearray()
    for chunk in answer.iter_bytes():
        body += chunk
        if len(body) > ANSWER_LIMIT_BYTES:
            raise unreadable(host_of(url), Message("it is too long"))
        if time.monotonic() > deadline_s:
            raise too_slow(host_of(url), ANSWER_TIMEOUT_S)
    return bytes(body)
