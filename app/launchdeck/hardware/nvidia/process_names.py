"""The names of the processes on a GPU: the system takes longer to tell them than a driver takes to list them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import psutil

_MOST_AT_ONCE: Final = 256  # about 20 ms


class ProcessNames:
    """Of one GPU. With every list no more than a few hundred names are read: those of new processes first, the largest
    of them before the others, and then again those that were read longest ago.
    """

    def __init__(self) -> None:
        self._names: dict[int, str] = {}  # the one read longest ago first

    def of(self, sizes: Mapping[int, int | None]) -> Mapping[int, str]:
        """By process. `sizes` are the bytes they hold; a name that has not been read yet is missing."""
        self._names = {pid: name for pid, name in self._names.items() if pid in sizes}
        new = sorted(sizes.keys() - self._names.keys(), key=lambda pid: sizes[pid] or 0, reverse=True)
        for pid in [*new, *self._names][:_MOST_AT_ONCE]:
            self._names.pop(pid, None)
            self._names[pid] = process_name(pid)
        return self._names


def process_name(pid: int) -> str:
    """The process's name; empty where it cannot be told (it ended, or it belongs to another container)."""
    try:
        return str(psutil.Process(pid).name())
    except (psutil.Error, OSError, ValueError, OverflowError):  # a driver may tell a number that is no process's
        return ""
