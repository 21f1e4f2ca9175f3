"""What Linux's control groups leave a process of the RAM: containers and services are given less than there is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from launchdeck.hardware.pci import read_number, read_text


@dataclass(frozen=True, slots=True)
class Limit:
    """Of one group: all that its processes may have together, and what of it is left."""

    total_bytes: int
    free_bytes: int


@dataclass(frozen=True, slots=True)
class _Version:
    """How a version of the interface names its files. `cache` is what the group can give back at once."""

    limit: str
    used: str
    cache: str


_V2 = _Version("memory.max", "memory.current", "inactive_file")
_V1 = _Version("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")


def limits(installed_bytes: int, root: Path = Path("/")) -> Iterator[Limit]:
    """The limit of every group that this process is in, from its own up to the topmost, where it is less than the RAM
    that is installed. `root` is where the system's `sys` and `proc` are.
    """
    for version, top, group in _groups(root):
        for folder in _upwards(top, group):
            limit = _limit(folder, version, installed_bytes)
            if limit is not None:
                yield limit


def _groups(root: Path) -> Iterator[tuple[_Version, Path, PurePosixPath]]:
    """For each version in use: where its groups are, and the path of our own there."""
    top = root / "sys/fs/cgroup"
    for line in (read_text(root / "proc/self/cgroup") or "").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if not controllers:
            yield _V2, top, PurePosixPath(path)
        elif "memory" in controllers.split(","):
            yield _V1, top / "memory", PurePosixPath(path)


def _upwards(top: Path, group: PurePosixPath) -> Iterator[Path]:
    """The group's folder and all above it. In a container the path may be the host's, which is not shown there: then
    what is shown at the top is the container's own group.
    """
    parts = [part for part in group.parts if part != "/"]
    if ".." in parts:  # outside what this namespace shows
        parts = []
    for count in range(len(parts), -1, -1):
        yield top.joinpath(*parts[:count])


def _limit(folder: Path, version: _Version, installed_bytes: int) -> Limit | None:
    """None: it has no limit, or does not tell. "No limit" is "max"; in the older version it is all the address space,
    rounded down to a page, whose size differs.
    """
    total_bytes = read_number(folder / version.limit)
    if total_bytes is None or total_bytes >= installed_bytes:
        return None
    used_bytes = read_number(folder / version.used)
    if used_bytes is None:
        return Limit(total_bytes, total_bytes)
    free_bytes = total_bytes - used_bytes + _cache_bytes(folder, version)
    return Limit(total_bytes, min(max(free_bytes, 0), total_bytes))


def _cache_bytes(folder: Path, version: _Version) -> int:
    for line in (read_text(folder / "memory.stat") or "").splitlines():
        name, _, value = line.partition(" ")
        if name == version.cache and value.isdecimal():
            return int(value)
    return 0
