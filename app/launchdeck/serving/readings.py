"""What a process tree takes of the memories. None: nobody can tell."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

    from launchdeck.domain.gpu import Inventory


def rss_bytes(pids: Collection[int]) -> int | None:
    """Resident memory of these processes; what they share is counted for each of them."""
    pages = []
    for pid in pids:
        with contextlib.suppress(OSError):  # it has ended meanwhile
            pages.append(int(Path(f"/proc/{pid}/statm").read_text().split()[1]))
    return sum(pages) * os.sysconf("SC_PAGE_SIZE") if pages else None


def vram_bytes(pids: Collection[int], inventory: Inventory) -> int | None:
    """Memory of all GPUs that the driver counts for these processes."""
    used = [
        process.used_memory_bytes
        for reading in inventory.gpus
        for process in reading.sample.processes
        if process.pid in pids and process.used_memory_bytes is not None
    ]
    return sum(used) if used else None
