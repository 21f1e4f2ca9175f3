"""What a reading of the devices and of /proc tells of a deployment."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from launchdeck.engines.residuals import held_on

if TYPE_CHECKING:
    from collections.abc import Collection

    from launchdeck.domain.deployment import Deployment
    from launchdeck.domain.gpu import Inventory


@dataclass(frozen=True, slots=True)
class Ram:
    """What processes take of RAM: all that is resident, where what they share counts for each of them, and the part
    that is theirs alone, without the pages of files that they have mapped, which the system can take back and counts
    as available. None: nobody can tell.
    """

    rss_bytes: int | None
    own_bytes: int | None


def ram_of(pids: Collection[int]) -> Ram:
    """Read what these processes take, in one pass."""
    pages = []
    for pid in pids:
        with contextlib.suppress(OSError):  # it has ended meanwhile
            _, resident, mapped, *_ = Path(f"/proc/{pid}/statm").read_text().split()
            pages.append((int(resident), int(resident) - int(mapped)))
    if not pages:
        return Ram(None, None)
    rss, own = (sum(part) * os.sysconf("SC_PAGE_SIZE") for part in zip(*pages, strict=True))
    return Ram(rss, own)


def observed(deployment: Deployment, inventory: Inventory) -> dict[str, Any]:
    """Give what a reading changes of a deployment: where its GPUs stand in the list now and, while it lives, which of
    them do not answer any more, and what its processes hold.
    """
    here = inventory.by_uuid
    gpus = [gpu.uuid for gpu in deployment.plan.gpus if gpu.is_identified]
    places = tuple((uuid, here[uuid].gpu.index) for uuid in gpus if uuid in here)
    if not deployment.state.is_live:
        return {"places": places}
    lost = (uuid for uuid in gpus if uuid not in here or not here[uuid].sample.state.answers)
    held = ((uuid, held_on(reading, deployment.pids)) for uuid, reading in here.items())
    vram_by_gpu = tuple((uuid, size) for uuid, size in held if size is not None)
    ram = ram_of(deployment.pids)
    return {
        "places": places,
        "lost_gpus": () if inventory.replayed else tuple(lost),
        "rss_bytes": ram.rss_bytes,
        "own_ram_bytes": ram.own_bytes,
        "vram_bytes": sum(size for _, size in vram_by_gpu) if vram_by_gpu else None,
        "vram_by_gpu": vram_by_gpu,
    }
