"""Where a walk through folders does not go, however a link or a setting leads there."""

from __future__ import annotations

import os
from typing import Final

from launchdeck.files.looking import real_name
from launchdeck.files.mounts import mounts

FOLDER_LIMIT: Final = 50_000
"""Folders looked into below one that is configured. The largest caches have some thousands."""

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
        self._devices = frozenset(mount.device for mount in mounts() if mount.kind in _MADE_UP)
        self._identities = {
            (status.st_dev, status.st_ino) for place in _ALWAYS if (status := _status(place)) is not None
        }

    def is_made_up(self, status: os.stat_result) -> bool:
        """Whether this folder belongs to the kernel's own file systems, in which no model lies."""
        return status.st_dev in self._devices or (status.st_dev, status.st_ino) in self._identities


def leads_up(link: str) -> bool:
    """Whether this link leads to a folder in which it lies itself, "/" included."""
    end = real_name(link)
    start = real_name(os.path.dirname(link))  # noqa: PTH120 (strings, as in `walk`)
    return start == end or start.startswith(end.rstrip("/") + "/")


def _status(place: str) -> os.stat_result | None:
    try:
        return os.stat(place)  # noqa: PTH116 (as above)
    except OSError:
        return None
