"""Where a walk through folders does not go, however a link or a setting leads there."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

FOLDER_LIMIT: Final = 50_000
"""Folders looked into below one that is configured. The largest caches have some thousands."""

_MOUNTS = Path("/proc/self/mountinfo")
# Their files are made up by the kernel while they are read. Source: the file systems marked `nodev` in Linux that hold
# no data; tmpfs and ramfs do.
_MADE_UP: Final = frozenset({
    "autofs", "binder", "binfmt_misc", "bpf", "cgroup", "cgroup2", "configfs", "cpuset", "debugfs", "devpts",
    "devtmpfs", "efivarfs", "fusectl", "hugetlbfs", "mqueue", "nfsd", "nsfs", "proc", "pstore", "resctrl", "rpc_pipefs",
    "securityfs", "selinuxfs", "smackfs", "sysfs", "tracefs",
})  # fmt: skip
# In a container /dev is a tmpfs, of which nothing is a model; /dev/shm is another.
_ALWAYS: Final = ("/proc", "/sys", "/dev")


class Bounds:
    """What the machine's mounts are now."""

    def __init__(self) -> None:
        self._devices = _made_up_devices()
        self._identities = {
            (status.st_dev, status.st_ino) for place in _ALWAYS if (status := _status(place)) is not None
        }

    def is_made_up(self, status: os.stat_result) -> bool:
        """Whether this folder belongs to the kernel's own file systems, in which no model lies."""
        return status.st_dev in self._devices or (status.st_dev, status.st_ino) in self._identities


def leads_up(link: str) -> bool:
    """Whether this link leads to a folder in which it lies itself, "/" included."""
    end = os.path.realpath(link)
    start = os.path.realpath(os.path.dirname(link))  # noqa: PTH120 (strings, as in `walk`)
    return start == end or start.startswith(end.rstrip("/") + "/")


def _made_up_devices() -> frozenset[int]:
    try:
        lines = _MOUNTS.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:  # another system than Linux, or a root without /proc
        return frozenset()
    return frozenset(device for line in lines if (device := _made_up_device(line)) is not None)


def _made_up_device(line: str) -> int | None:
    """The device of a mount whose file system holds no data. Source: proc_pid_mountinfo(5)."""
    mount, _, system = line.partition(" - ")
    fields = mount.split()
    if len(fields) < 3 or system.split(" ", 1)[0] not in _MADE_UP:
        return None
    major, _, minor = fields[2].partition(":")
    return os.makedev(int(major), int(minor)) if major.isdecimal() and minor.isdecimal() else None


def _status(place: str) -> os.stat_result | None:
    try:
        return os.stat(place)  # noqa: PTH116 (as above)
    except OSError:
        return None
