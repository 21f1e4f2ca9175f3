"""Connections through a SOCKS5 proxy, which is given the name to look up.

httpcore can do this as well, but waits for such a proxy without end, takes for granted that its words come in one
piece, and leaves the connection open where it refuses (1.0.9).
"""

from __future__ import annotations

import ssl
from collections.abc import Iterable
from typing import Final
from urllib.parse import unquote, urlsplit

import httpcore
import httpx
import socksio
from socksio.socks5 import (
    SOCKS5AuthMethod,
    SOCKS5AuthMethodsRequest,
    SOCKS5AuthReply,
    SOCKS5Command,
    SOCKS5CommandRequest,
    SOCKS5Connection,
    SOCKS5Reply,
    SOCKS5ReplyCode,
    SOCKS5UsernamePasswordReply,
    SOCKS5UsernamePasswordRequest,
)

_DEFAULT_PORT: Final = 1080
_NAME, _IPV6 = 3, 4  # kinds of addresses in a reply; the third is IPv4
_TIMEOUT_S: Final = 10.0


class SocksTransport(httpx.HTTPTransport):
    """As httpx's own, but each of its connections begins with a word to the proxy."""

    def __init__(self, proxy_url: str, trust: ssl.SSLContext) -> None:
        super().__init__(verify=trust, trust_env=False)
        self._pool = httpcore.ConnectionPool(ssl_context=trust, network_backend=_SocksBackend(proxy_url))


class _SocksBackend(httpcore.NetworkBackend):
    def __init__(self, proxy_url: str) -> None:
        parts = urlsplit(proxy_url)
        self._proxy = (parts.hostname or "", parts.port or _DEFAULT_PORT)
        self._user, self._password = (unquote(text or "").encode() for text in (parts.username, parts.password))
        self._direct = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        stream = self._direct.connect_tcp(*self._proxy, timeout, local_address, socket_options)
        try:
            self._ask(_Words(stream, timeout or _TIMEOUT_S), host, port)
        except (httpcore.TimeoutException, httpcore.NetworkError) as error:
            stream.close()
            raise httpcore.ProxyError("it does not answer to SOCKS5") from error
        except (socksio.SOCKSError, ValueError) as error:  # ValueError: also a name or password that is too long for it
            stream.close()
            raise httpcore.ProxyError("it does not speak SOCKS5") from error
        except BaseException:
            stream.close()
            raise
        return stream

    def _ask(self, words: _Words, host: str, port: int) -> None:
        speech = SOCKS5Connection()
        method = SOCKS5AuthMethod.USERNAME_PASSWORD if self._user else SOCKS5AuthMethod.NO_AUTH_REQUIRED
        speech.send(SOCKS5AuthMethodsRequest([method]))
        words.say(speech.data_to_send())
        told = speech.receive_data(words.hear(2))
        if not isinstance(told, SOCKS5AuthReply) or told.method != method:
            raise httpcore.ProxyError("it wants another kind of log-in")
        if self._user:
            speech.send(SOCKS5UsernamePasswordRequest(self._user, self._password))
            words.say(speech.data_to_send())
            told = speech.receive_data(words.hear(2))
            if not isinstance(told, SOCKS5UsernamePasswordReply) or not told.success:
                raise httpcore.ProxyError("it does not take the name and the password")
        speech.send(SOCKS5CommandRequest.from_address(SOCKS5Command.CONNECT, (host, port)))
        words.say(speech.data_to_send())
        reply = speech.receive_data(_whole_reply(words))
        if not isinstance(reply, SOCKS5Reply) or reply.reply_code != SOCKS5ReplyCode.SUCCEEDED:
            raise httpcore.ProxyError(_in_words(reply))


class _Words:
    """What is said to the proxy and heard from it, never waiting for longer than the patience."""

    def __init__(self, stream: httpcore.NetworkStream, timeout_s: float) -> None:
        self._stream = stream
        self._timeout_s = timeout_s

    def say(self, data: bytes) -> None:
        self._stream.write(data, self._timeout_s)

    def hear(self, count: int) -> bytes:
        """Exactly so many bytes. Raises ValueError: it hangs up before."""
        heard = b""
        while len(heard) < count:
            piece = self._stream.read(count - len(heard), self._timeout_s)
            if not piece:
                raise ValueError("it hangs up")
            heard += piece
        return heard


def _whole_reply(words: _Words) -> bytes:
    head = words.hear(4)
    if head[3] == _NAME:
        length = words.hear(1)
        return head + length + words.hear(length[0] + 2)
    return head + words.hear((16 if head[3] == _IPV6 else 4) + 2)


def _in_words(reply: object) -> str:
    code = getattr(reply, "reply_code", None)
    return code.name.lower().replace("_", " ") if isinstance(code, SOCKS5ReplyCode) else "it refuses"
