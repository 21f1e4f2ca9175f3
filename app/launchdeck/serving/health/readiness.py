"""Whether an engine that is loading serves, and whether it is ours that does."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from launchdeck.serving.sockets import listeners, sockets_of

if TYPE_CHECKING:
    from collections.abc import Iterable


class Owner(StrEnum):
    NOBODY = "nobody"
    OURS = "ours"
    FOREIGN = "foreign"


def owner_of_port(host: str, port: int, pids: Iterable[int]) -> Owner:
    """Whose sockets answer on this port. One that is not of these processes makes the port foreign: with
    SO_REUSEPORT several share it, and the answers come from either (llama.cpp#20963, vLLM#39762).
    """
    found = listeners(host, port)
    if not found:
        return Owner.NOBODY
    return Owner.OURS if found <= sockets_of(pids) else Owner.FOREIGN
