"""What stands in the way, in sentences: no network, a proxy, a certificate, a network's log-in page, a bad answer."""

from __future__ import annotations

import errno
import re
import socket
import ssl
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from urllib.parse import urlsplit

from launchdeck.domain.errors import Cause, Failure, LaunchdeckError
from launchdeck.domain.text import Message
from launchdeck.network.proxies import Proxy

CHECK_NETWORK = Message("Check the network.")
_SECONDS_LEFT = re.compile(r";\s*t\s*=\s*(\d{1,6})\b")  # RateLimit: "default";r=0;t=37
_NO_WAY = frozenset({errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EHOSTDOWN, errno.EADDRNOTAVAIL})


class AwayError(LaunchdeckError):
    """Nobody answers now, or not to the end: the same may work in a moment."""


def host_of(url: str) -> str:
    """The host, and the port where one is named, for sentences: never a name or password in the address."""
    return urlsplit(url).netloc.rpartition("@")[2] or url[:200]


def connection_failed(error: Exception, url: str, proxy: Proxy | None) -> LaunchdeckError:
    """The sentence for an error of httpx (or below it) while this address was asked through this proxy."""
    host = host_of(url)
    for below in _chain(error):
        if isinstance(below, ssl.SSLCertVerificationError):
            return _untrusted(host, below.verify_message or str(below))
        if isinstance(below, ssl.SSLError):
            return _no_tls(host, below.reason or str(below))
    if proxy is not None:
        return _through_proxy(error, host, proxy)
    return away(host, _reason(error))


def away(host: str, reason: Message | str) -> AwayError:
    """The error of a host that does not answer."""
    return _away(Message("{host} does not answer: {reason}.", host=host, reason=reason), CHECK_NETWORK)


def too_slow(host: str, seconds: float) -> AwayError:
    """The error of a host that took a question and says nothing."""
    return away(host, Message("nothing came within {seconds} s", seconds=round(seconds)))


def login_page(host: str) -> LaunchdeckError:
    """The error of a page for people where an answer for programs was due."""
    return LaunchdeckError.of(
        Cause.NOT_FOUND,
        Message("A web page came from {host} instead of an answer, maybe the log-in page of this network.", host=host),
        Message("Open any page in a browser and log in to the network, then try again."),
    )


def refused(
    url: str,
    status: int,
    headers: Mapping[str, str],
    what: str = "",
    *,
    with_token: bool = False,  # noqa: ARG001 (those who give tokens know)
) -> LaunchdeckError:
    """Return the error of a server that answers with a refusal, where nothing more is known of its words."""
    host = host_of(url)
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return too_often(host, headers)
    if status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
        return LaunchdeckError.of(
            Cause.NOT_FOUND,
            Message("The proxy of this network wants a name and a password."),
            Message("Write them into the variable that names the proxy: http://NAME:PASSWORD@HOST:PORT."),
        )
    message = Message("{host} does not answer as it should (status {status}).", host=host, status=status)
    if what and status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND}:
        message = Message("{host} does not give {name} (status {status}).", host=host, name=what, status=status)
    return LaunchdeckError.of(Cause.NOT_FOUND, message, CHECK_NETWORK)


def too_often(host: str, headers: Mapping[str, str]) -> LaunchdeckError:
    """Return the error of a server that was asked more often than it allows; its headers may say for how long."""
    found = _SECONDS_LEFT.search(headers.get("ratelimit", "")) or re.fullmatch(
        r"\s*(\d{1,6})\s*", headers.get("retry-after", "")
    )
    later = Message("Try again in {seconds} s.", seconds=found[1]) if found else Message("Try again in some minutes.")
    message = Message("{host} was asked too often and answers nothing for now.", host=host)
    return LaunchdeckError.of(Cause.NOT_FOUND, message, later)


def unreadable(host: str, reason: Message | str) -> LaunchdeckError:
    """The error of an answer that is none."""
    return LaunchdeckError.of(
        Cause.NOT_FOUND,
        Message("The answer of {host} cannot be read: {reason}.", host=host, reason=reason),
        Message("Check that the address is the right one, or try again later."),
    )


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and what it came from; httpx says in a sentence of its own what the system said below."""
    below: BaseException | None = error
    for _ in range(10):
        if below is None:
            return
        yield below
        below = below.__cause__ or below.__context__


def _reason(error: Exception) -> Message | str:
    for below in _chain(error):
        if isinstance(below, socket.gaierror):
            return Message("its name cannot be looked up")
        if isinstance(below, ConnectionRefusedError):
            return Message("nobody takes the connection")
        if isinstance(below, TimeoutError):
            return Message("it keeps silent")
        if isinstance(below, OSError) and below.errno in _NO_WAY:
            return Message("there is no way to it")
    import httpx  # noqa: PLC0415 (whoever gets here has imported it)

    if isinstance(error, (httpx.UnsupportedProtocol, httpx.TooManyRedirects, httpx.InvalidURL, UnicodeError)):
        return Message("it leads to an address that cannot be asked")
    if isinstance(error, (httpx.NetworkError, httpx.ProtocolError)):
        return Message("the connection breaks off")
    return str(error)[:200] or type(error).__name__


def _through_proxy(error: Exception, host: str, proxy: Proxy) -> LaunchdeckError:
    """A proxy that is not there, and one that is and will not: both are told with the place where it is named."""
    if _is_refusal(error):
        message = Message(
            "The proxy {proxy} ({source}) does not connect to {host}: {reason}.",
            proxy=proxy.shown, source=proxy.source, host=host, reason=str(error).rstrip(".")[:200],
        )  # fmt: skip
        return _away(message, Message("Check what this proxy asks for, and the network behind it."))
    message = Message(
        "The proxy {proxy} ({source}) does not answer: {reason}.",
        proxy=proxy.shown, source=proxy.source, reason=_reason(error),
    )  # fmt: skip
    return _away(message, Message("Check that it runs and is named rightly, or remove it and start Launchdeck again."))


def _is_refusal(error: Exception) -> bool:
    import httpx  # noqa: PLC0415 (whoever gets here has imported it)

    return isinstance(error, httpx.ProxyError)


def _away(message: Message, advice: Message) -> AwayError:
    return AwayError(Failure(Cause.NOT_FOUND, message, advice))


def _untrusted(host: str, reason: str) -> LaunchdeckError:
    return LaunchdeckError.of(
        Cause.NOT_FOUND,
        Message("The certificate of {host} is not trusted: {reason}.", host=host, reason=reason[:200]),
        Message(
            "If this network looks into what is encrypted, name the file with its certificate in SSL_CERT_FILE. "
            "Else check the clock, and whether the network wants a log-in in a browser."
        ),
    )


def _no_tls(host: str, reason: str) -> LaunchdeckError:
    return LaunchdeckError.of(
        Cause.NOT_FOUND,
        Message("{host} does not speak TLS as it should: {reason}.", host=host, reason=reason[:200]),
        Message("Check the address (http or https), and the proxy if there is one."),
    )
