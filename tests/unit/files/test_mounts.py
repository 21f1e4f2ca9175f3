"""Which file system a path lies on, by the kernel's table alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from launchdeck.files.mounts import mount_of, mounts, parse_mounts

TABLE = """22 1 259:2 / / rw,relatime shared:1 - ext4 /dev/nvme0n1p2 rw
23 22 0:21 / /proc rw,nosuid shared:12 - proc proc rw
90 22 0:55 / /mnt/big\\040disk rw - nfs4 server:/models rw,hard
91 22 0:56 /sub /mnt/big rw,relatime shared:7 master:1 - cifs //server/share rw
92 22 259:3 / /mnt/big\\040disk/local rw - ext4 /dev/nvme1n1 rw
93 22 0:57 / /mnt/over rw - nfs server:/a rw
94 93 259:4 / /mnt/over rw - xfs /dev/sdb1 rw
a line of another kind
95 22 0:58 / /mnt/cut
"""


@pytest.mark.parametrize(
    ("place", "kind", "needs_server"),
    [
        ("/home/me/m.gguf", "ext4", False),
        ("/mnt/big disk", "nfs4", True),
        ("/mnt/big disk/deep/m.gguf", "nfs4", True),
        ("/mnt/big disk/local/m.gguf", "ext4", False),
        ("/mnt/big/m.gguf", "cifs", True),
        ("/mnt/bigger", "ext4", False),
        ("/mnt/over/m.gguf", "xfs", False),
        ("/proc/1", "proc", False),
    ],
)
def test_the_nearest_mount_holds_a_place(place: str, kind: str, needs_server: bool) -> None:
    mount = mount_of(place, parse_mounts(TABLE.replace("\\\\", "\\")))
    assert mount is not None
    assert (mount.kind, mount.needs_server) == (kind, needs_server)


def test_a_relative_place_lies_on_none_that_is_known() -> None:
    assert mount_of("m.gguf", parse_mounts(TABLE)) is None


def test_this_machines_own_table_agrees_with_what_the_system_says() -> None:
    mount = mount_of("/proc", mounts())
    assert mount is not None
    assert (mount.kind, mount.device) == ("proc", Path("/proc").stat().st_dev)
