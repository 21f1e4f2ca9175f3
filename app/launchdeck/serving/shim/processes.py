"""Processes, known by what identifies them: pid and start time; a pid alone is given out again.

Used by the shim as well, which imports nothing but the standard library, and of that as little as it can: pathlib
would add half to its start time.
"""

from __future__ import annotations

import os
import signal

TYPE_CHECKING = False  # `typing` is not worth its import time in a shim
if TYPE_CHECKING:
    from collections.abc import Callable

Process = tuple[int, int]
"""pid, and start time in clock ticks since boot."""

STAT_BYTES = 1024


def boot_id() -> str:
    """Start times count from boot: a record of another boot speaks of processes that are gone."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()


class Stat:
    """The part of /proc/PID/stat that matters here."""

    __slots__ = ("is_zombie", "parent", "process", "session")

    def __init__(self, pid: int, line: bytes) -> None:
        fields = line[line.rindex(b")") + 2 :].split()  # the name before may hold spaces and brackets
        # a process whose first thread has ended is called a zombie, too, while its others live and hold its memory
        self.is_zombie = fields[0] in {b"Z", b"X"} and int(fields[17]) <= 1
        self.parent = int(fields[1])
        self.session = int(fields[3])
        self.process: Process = (pid, int(fields[19]))


def read_stat(pid: int) -> Stat | None:
    """None: there is no such process."""
    try:
        file = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)  # half the system calls of open()
    except (FileNotFoundError, PermissionError):  # /proc may show each user its own processes alone (hidepid)
        return None
    try:
        return Stat(pid, os.read(file, STAT_BYTES))
    except ProcessLookupError:
        return None
    finally:
        os.close(file)


def identify(pid: int) -> Process | None:
    """The process that has this pid now; None where there is none, or only what is left of one."""
    stat = read_stat(pid)
    return None if stat is None or stat.is_zombie else stat.process


def is_alive(process: Process) -> bool:
    return identify(process[0]) == process


def all_stats() -> list[Stat]:
    """One look at every process of this machine."""
    stats = (read_stat(int(name)) for name in os.listdir("/proc") if name.isdigit())
    return [stat for stat in stats if stat is not None]


def descendants(pids: set[int], stats: list[Stat] | None = None) -> list[Process]:
    """The living processes below `pids`, without themselves, parents before their children; among `stats`, where a
    look has been taken already.
    """
    children: dict[int, list[Stat]] = {}
    for stat in all_stats() if stats is None else stats:
        children.setdefault(stat.parent, []).append(stat)
    found: list[Process] = []
    queue = list(pids)
    for pid in queue:  # grows while it is walked
        for child in children.get(pid, ()):
            queue.append(child.process[0])
            if not child.is_zombie:
                found.append(child.process)
    return found


def send_signal(process: Process, signum: int, is_meant: Callable[[Process], bool] = is_alive) -> bool:
    """Signal exactly this process, never another that was given its pid meanwhile. False: it is gone. One that has
    become somebody else's, say by sudo, stays as it is, and is there.

    `is_meant` looks at it once more while it is held: what holds then, holds for whoever is signalled.
    """
    try:
        handle = os.pidfd_open(process[0])
    except OSError:
        return False
    try:
        if not is_meant(process):
            return False
        signal.pidfd_send_signal(handle, signum)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    finally:
        os.close(handle)
    return True
