"""Through which proxy an address is asked, by the environment (on Windows and macOS also by the system's settings)."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import SplitResult, urlsplit, urlunsplit
from urllib.request import getproxies

from launchdeck.domain.errors import Cause, LaunchdeckError
from launchdeck.domain.text import Message

# GNOME writes socks:// and means version 5. Version 4 can neither pass names on nor IPv6, and httpx does not speak it.
_SCHEMES = {"http": "http", "https": "https", "socks5": "socks5", "socks5h": "socks5h", "socks": "socks5"}
_OF_THE_SYSTEM = Message("the system's settings")


@dataclass(frozen=True, slots=True)
class Proxy:
    """`url` may hold a password and is shown nowhere: `shown` is the same without. `source` says who named it: a
    variable of the environment, as it is spelled there, or the system.
    """

    url: str = field(repr=False)
    shown: str
    source: str | Message


def proxy_for(url: str) -> Proxy | None:
    """The proxy that this address is asked through; None: it is asked directly.

    Raises:
        LaunchdeckError: a proxy is named that cannot be used.
    """
    address = urlsplit(url)
    named = getproxies()
    if _is_excepted(address, named.get("no", "")):
        return None
    for kind in (address.scheme, "all"):
        value = named.get(kind, "")
        if value.strip():
            return _checked(value.strip(), _source(kind, value))
    return None


def _checked(value: str, source: str | Message) -> Proxy:
    text = value if "://" in value else f"http://{value}"
    shown = text
    try:
        parts = urlsplit(text)
        shown = _without_credentials(parts)
        scheme = _SCHEMES.get(parts.scheme)
        port = parts.port
        if scheme is None or not parts.hostname or port == 0 or any(sign.isspace() for sign in text):
            raise _unusable(shown, source)
        return Proxy(urlunsplit((scheme, parts.netloc, "", "", "")), shown, source)
    except ValueError as error:  # no port, or an address in brackets that is none
        raise _unusable(shown.rpartition("@")[2], source) from error


def _without_credentials(parts: SplitResult) -> str:
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], "", "", ""))


def _source(kind: str, value: str) -> str | Message:
    """The variable as it is spelled: small letters come first, as everywhere."""
    spelled = [name for name in os.environ if name.lower() == f"{kind}_proxy" and os.environ[name] == value]
    return min(spelled, key=str.isupper, default=_OF_THE_SYSTEM)


def _unusable(shown: str, source: str | Message) -> LaunchdeckError:
    return LaunchdeckError.of(
        Cause.BAD_REQUEST,
        Message("{source} names the proxy {proxy}, which cannot be used.", source=source, proxy=shown[:200]),
        Message("Write it as http://HOST:PORT or socks5://HOST:PORT, or remove it; then start Launchdeck again."),
    )


def _is_excepted(address: SplitResult, listed: str) -> bool:
    """Whether NO_PROXY names this host: by its name or a domain above it, by its address, or by its network."""
    host = (address.hostname or "").lower()
    return any(entry == "*" or _matches(entry, host, address) for entry in _entries(listed))


def _entries(listed: str) -> Iterator[str]:
    return (entry for entry in (part.strip().lower() for part in listed.split(",")) if entry)


def _matches(entry: str, host: str, address: SplitResult) -> bool:
    entry = entry.rpartition("://")[2]
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(entry.strip("[]"), strict=False)
    except ValueError:
        pass  # one of them is a name
    name, _, port = entry.rpartition(":")
    if name and port.isdecimal():
        if int(port[:6]) != _port(address):
            return False
        entry = name.strip("[]")
    domain = entry.removeprefix("*").removeprefix(".")
    return bool(domain) and (host == domain or host.endswith(f".{domain}"))


def _port(address: SplitResult) -> int:
    try:
        return address.port or {"http": 80, "https": 443}.get(address.scheme, 0)
    except ValueError:
        return 0
