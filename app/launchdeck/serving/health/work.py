"""Whether a process tree does anything: what the kernel has counted of its CPU time and of its reads."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection

LOOK_INTERVAL_S: Final = 1.0
BUSY_CPU_SHARE: Final = 0.05
"""Of one core. Answering our health checks, or waiting with a short sleep, takes less."""
BUSY_READ_BYTES_A_S: Final = 64 * 1024


class Spent(NamedTuple):
    """What a process has taken since it was born: seconds of CPU time, bytes read."""

    cpu_s: float
    read_bytes: int


class WorkMeter:
    """Looks at the same tree again and again. Its clock is monotonic."""

    def __init__(self) -> None:
        self._looked_at_s = time.monotonic()
        self._before: dict[int, Spent] = {}

    @property
    def is_due(self) -> bool:
        """Whether enough time has passed for another look."""
        return time.monotonic() - self._looked_at_s >= LOOK_INTERVAL_S

    def is_at_work(self, pids: Collection[int]) -> bool:
        """Tell whether these processes have done anything since the last look. One that is new has done all it did."""
        now_s = time.monotonic()
        elapsed_s, self._looked_at_s = now_s - self._looked_at_s, now_s
        spent = {pid: spent_by(pid) for pid in pids}
        nothing = Spent(0.0, 0)
        pairs = [(now, self._before.get(pid, nothing)) for pid, now in spent.items()]
        self._before = spent
        cpu_s = sum(max(now.cpu_s - before.cpu_s, 0) for now, before in pairs)
        read_bytes = sum(max(now.read_bytes - before.read_bytes, 0) for now, before in pairs)
        return cpu_s >= BUSY_CPU_SHARE * elapsed_s or read_bytes >= BUSY_READ_BYTES_A_S * elapsed_s


def spent_by(pid: int) -> Spent:
    """What this process, with all its threads, has taken; nothing where it is gone, or not ours to look at.

    Of the reads the larger count counts: those that were asked for, from the page cache as well, and those that reached
    the disk, page faults of a mapped file among them.
    """
    folder = Path(f"/proc/{pid}")
    try:
        fields = (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()
        cpu_s = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")  # utime, stime
    except (OSError, IndexError):
        return Spent(0.0, 0)
    try:
        counts = dict(line.split(": ") for line in (folder / "io").read_text().splitlines())
    except (OSError, ValueError):
        return Spent(cpu_s, 0)
    return Spent(cpu_s, max(int(counts.get("rchar", 0)), int(counts.get("read_bytes", 0))))
