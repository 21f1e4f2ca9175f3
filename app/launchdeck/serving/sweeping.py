"""What a shim that died has left behind: found, and killed until nothing is left.

Three things show what is ours. The record names processes by pid and start time. What was born since carries the
record's mark (`shim_mark.py`) in its environment. And whatever descends from one of these, or shares the session of a
marked one, is ours as well: a session is left by itself and joined by birth alone.

What a program has made of its environment cannot be relied on: vLLM writes over it. Such a process is found by the
record, by its parents or by its session; one that has left all three between two looks of its shim is not.
"""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from launchdeck.serving.shim.mark import carries
from launchdeck.serving.shim.processes import Process, Stat, all_stats, descendants, is_alive, send_signal

SWEEP_POLL_S: Final = 0.02
NO_SESSION: Final = 0
"""What the kernel's own threads have, and in a container whoever was put into it from outside."""
QUIET_LOOKS: Final = 3
"""A look at /proc is no moment: who is born while it is taken, of a parent that dies, shows in the next one. And a
process that is just becoming another program shows no environment at all.
"""


@dataclass(frozen=True, slots=True)
class Mark:
    """What the processes of one launch carry, and since when there were any (clock ticks since boot)."""

    deployment_id: str
    value: str
    since: int

    def __repr__(self) -> str:
        """Leave the value out: it belongs into no log."""
        return f"Mark({self.deployment_id}, since {self.since})"

    def is_on(self, process: Process) -> bool:
        """Tell whether this process carries it: one of this user, born after the shim. False where that is not shown,
        as for one that is gone or of somebody else.
        """
        pid, start = process
        if start < self.since or not is_alive(process):
            return False
        folder = Path(f"/proc/{pid}")
        try:
            return folder.stat().st_uid == os.geteuid() and carries(
                (folder / "environ").read_bytes(), self.deployment_id, self.value
            )
        except OSError:
            return False


def sweep(
    processes: list[Process], timeout_s: float, sessions: frozenset[int] = frozenset(), mark: Mark | None = None
) -> list[Process]:
    """Kill these, what they started, the members of these sessions, and what carries the mark. Give back what would
    not die in time.

    For the case that nobody supervises them any more. Name a session only if it was seen alive moments ago: its number
    may be given out again once it is empty.
    """
    deadline_s = time.monotonic() + timeout_s
    wanted = set(processes)
    quiet_looks = 0
    while True:
        stats = [stat for stat in all_stats() if stat.process[0] != os.getpid()]  # whatever a file says
        marked = [] if mark is None else [stat for stat in stats if mark.is_on(stat.process)]
        killed = [stat.process for stat in marked if mark and send_signal(stat.process, signal.SIGKILL, mark.is_on)]
        wanted |= _relatives(stats, wanted, marked, sessions)
        left = {*killed, *(process for process in wanted if send_signal(process, signal.SIGKILL))}
        quiet_looks = 0 if left else quiet_looks + 1
        if quiet_looks == QUIET_LOOKS or (left and time.monotonic() > deadline_s):
            return sorted(left)
        time.sleep(SWEEP_POLL_S)


def _relatives(stats: list[Stat], wanted: set[Process], marked: list[Stat], sessions: frozenset[int]) -> set[Process]:
    """Who is seen at this look to belong to these: the members of their sessions, and all that they started."""
    ours = (sessions | {stat.session for stat in marked}) - {NO_SESSION, os.getsid(0)}
    members = {stat.process for stat in stats if stat.session in ours and not stat.is_zombie}
    here = {stat.process for stat in stats if stat.process in wanted and not stat.is_zombie}
    roots = here | members | {stat.process for stat in marked}
    return members | set(descendants({pid for pid, _ in roots}, stats))
