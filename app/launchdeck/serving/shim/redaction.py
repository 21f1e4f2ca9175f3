"""Secrets taken out of a stream of bytes, also where a secret comes in two pieces. Imported by the shim."""

from __future__ import annotations

MASK = b"***"
MIN_SECRET_LENGTH = 8
"""A shorter "secret" would blank ordinary words."""


class Redactor:
    def __init__(self, secrets: list[str]) -> None:
        self._secrets = sorted((s.encode() for s in secrets if len(s) >= MIN_SECRET_LENGTH), key=len, reverse=True)
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        """What may be shown of the stream so far; what could be the beginning of a secret is held back."""
        data = self._held + data
        for secret in self._secrets:
            data = data.replace(secret, MASK)
        held_length = max((_overlap(data, secret) for secret in self._secrets), default=0)
        self._held = data[len(data) - held_length :]
        return data[: len(data) - held_length]

    def flush(self) -> bytes:
        """The stream has ended: the rest was no secret."""
        rest, self._held = self._held, b""
        return rest


def _overlap(data: bytes, secret: bytes) -> int:
    """How many of the last bytes of `data` are the first ones of `secret`, but not all of it."""
    longest = min(len(data), len(secret) - 1)
    return next((n for n in range(longest, 0, -1) if data.endswith(secret[:n])), 0)
