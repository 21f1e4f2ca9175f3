"""What is mounted where, as the kernel tells it: without a look at the places themselves, which may not answer."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

_TABLE: Final = Path("/proc/self/mountinfo")
_ESCAPED: Final = re.compile(r"\\([0-7]{3})")
# What needs a server: where that is gone, nothing on it answers.
_NETWORK: Final = frozenset({
    "9p", "afs", "ceph", "cifs", "fuse.ceph", "fuse.glusterfs", "fuse.sshfs", "glusterfs", "lustre", "ncpfs", "nfs",
    "nfs4", "smb3", "smbfs",
})  # fmt: skip


class Mount(NamedTuple):
    """A mounted file system: where, its device as `stat` has it, and of what kind ("ext4", "nfs4")."""

    point: str
    device: int
    kind: str

    @property
    def needs_server(self) -> bool:
        return self.kind in _NETWORK


def mounts() -> list[Mount]:
    """All of them, the later over the earlier; none on other systems than Linux."""
    try:
        text = _TABLE.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return []
    return parse_mounts(text)


def parse_mounts(text: str) -> list[Mount]:
    """Source: proc_pid_mountinfo(5)."""
    return [mount for line in text.splitlines() if (mount := _parse(line)) is not None]


def mount_of(place: str, among: Iterable[Mount]) -> Mount | None:
    """The one on which this path lies, by its text: links are not followed."""
    holding = [one for one in among if place == one.point or place.startswith(one.point.rstrip("/") + "/")]
    return max(reversed(holding), key=lambda mount: len(mount.point), default=None)


def _parse(line: str) -> Mount | None:
    mount, _, system = line.partition(" - ")
    fields, kind = mount.split(" "), system.split(" ", 1)[0]
    if len(fields) < 5 or not kind:
        return None
    major, _, minor = fields[2].partition(":")
    if not (major.isdecimal() and minor.isdecimal()):
        return None
    point = _ESCAPED.sub(lambda match: chr(int(match[1], 8)), fields[4])
    return Mount(point, os.makedev(int(major), int(minor)), kind)
