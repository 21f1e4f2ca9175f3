"""Addresses that come from the environment, the settings or the network."""

from __future__ import annotations

from urllib.parse import urlsplit

_LIMIT = 4096


def is_address(text: object) -> bool:
    """Whether this is an address that can be asked: http or https, a host, nothing that no address may hold."""
    if not isinstance(text, str) or len(text) > _LIMIT or not text.isprintable() or " " in text:
        return False
    try:
        parts = urlsplit(text)
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
