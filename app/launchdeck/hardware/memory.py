"""How full a memory is: a GPU's own, or the RAM that a GPU shares."""

from __future__ import annotations

from dataclasses import dataclass

import psutil

_CHANGE_BYTES = 8 << 20


@dataclass(frozen=True, slots=True)
class Memory:
    """`used` and `free` need not add up to `total`: drivers keep some for themselves."""

    total_bytes: int
    used_bytes: int
    free_bytes: int


def has_changed(before_bytes: int, now_bytes: int) -> bool:
    """Whether a process must have come or gone, or taken or given back memory."""
    return abs(now_bytes - before_bytes) >= _CHANGE_BYTES


def ram() -> Memory:
    """The computer's RAM; what the system can take back at once (caches) counts as free."""
    now = psutil.virtual_memory()
    return Memory(now.total, now.total - now.available, now.available)
