"""What a process tree takes of the memories. None: nobody can tell."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from launchdeck.domain.gpu import Inventory


def rss_bytes(pids: Collection[int]) -> int | None:
    """Resident memory of these processes; what they share is counted for each of them."""
    pages = [resident for resident, _ in _pages(pids)]
    return sum(pages) * os.sysconf("SC_PAGE_SIZE") if pages else None


def own_ram_bytes(pids: Collection[int]) -> int | None:
    """The part of it that is theirs alone: without the pages of files that they have mapped, which the system can take
    back and counts as available.
    """
    pages = [resident - mapped for resident, mapped in _pages(pids)]
    return sum(pages) * os.sysconf("SC_PAGE_SIZE") if pages else None


def _pages(pids: Collection[int]) -> Iterator[tuple[int, int]]:
    """Of every process that is there, the pages that are resident and those of them that belong to a file."""
    for pid in pids:
        with contextlib.suppress(OSError):  # it has ended meanwhile
            _, resident, mapped, *_ = Path(f"/proc/{pid}/statm").read_text().split()
            yield int(resident), int(mapped)


def vram_by_gpu(pids: Collection[int], inventory: Inventory) -> tuple[tuple[str, int], ...]:
    """The UUID of every GPU on which the driver counts memory for these processes, and how many bytes."""
    found = []
    for reading in inventory.gpus:
        used = [process.used_memory_bytes for process in reading.sample.processes if process.pid in pids]
        known = [used_bytes for used_bytes in used if used_bytes is not None]
        if known:
            found.append((reading.gpu.uuid, sum(known)))
    return tuple(found)
