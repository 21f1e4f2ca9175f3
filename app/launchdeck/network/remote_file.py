"""A file that is to be fetched, and who can tell what a refusal of it means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from launchdeck.domain.errors import LaunchdeckError
from launchdeck.network.failures import refused


class Explain(Protocol):
    """Says what a refusal of one server means: its status, its headers, and what was asked for."""

    def __call__(
        self, url: str, status: int, headers: Mapping[str, str], what: str = "", *, with_token: bool = False
    ) -> LaunchdeckError: ...


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file to fetch. `sha256` is None where nobody tells it; then its size alone is checked.

    `headers` may hold a key: they go to the address's own host and to no other that it leads to. `explain` knows the
    words of this server's refusals.
    """

    url: str
    size_bytes: int
    sha256: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    explain: Explain = refused


@dataclass(frozen=True, slots=True)
class NamedFile:
    """`name` is its path below the folder that it is to be put into."""

    name: str
    remote: RemoteFile
