"""How full a memory is: a GPU's own, or the RAM that a GPU shares."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from launchdeck.hardware.cgroups import limits

_CHANGE_BYTES: Final = 8 << 20


@dataclass(frozen=True, slots=True)
class Memory:
    """`used` and `free` need not add up to `total`: drivers keep some for themselves."""

    total_bytes: int
    used_bytes: int
    free_bytes: int


def has_changed(before_bytes: int, now_bytes: int) -> bool:
    """Whether a process must have come or gone, or taken or given back memory."""
    return abs(now_bytes - before_bytes) >= _CHANGE_BYTES


def ram(root: Path = Path("/")) -> Memory:
    """The RAM that this process and those it starts may have; what the system can take back at once (caches) counts as
    free. A container or a service may be given less than the computer has: the smallest limit counts. `root` is where
    the system's `sys` and `proc` are.
    """
    now = psutil.virtual_memory()
    total_bytes, free_bytes = now.total, now.available
    for limit in limits(now.total, root):
        total_bytes = min(total_bytes, limit.total_bytes)
        free_bytes = min(free_bytes, limit.free_bytes)
    return Memory(total_bytes, total_bytes - free_bytes, free_bytes)


def is_all_the_ram(size_bytes: int, within_bytes: int, within_share: float) -> bool:
    """Whether a memory of this size is the computer's RAM itself, give or take the larger of these."""
    installed_bytes: int = psutil.virtual_memory().total
    return abs(size_bytes - installed_bytes) <= max(within_bytes, installed_bytes * within_share)


def with_ram(own: Memory, shared: Memory, root: Path = Path("/")) -> Memory:
    """The memory of a GPU that has a part of the RAM set aside for it (`own`) and may use of the rest what the driver
    allows (`shared`) and what is left.
    """
    now = ram(root)
    most_bytes = min(shared.total_bytes, now.total_bytes)
    left_bytes = min(shared.free_bytes, now.free_bytes)
    used_bytes = min(shared.used_bytes, most_bytes)  # others may have more of it than our group is allowed
    return Memory(own.total_bytes + most_bytes, own.used_bytes + used_bytes, own.free_bytes + left_bytes)
