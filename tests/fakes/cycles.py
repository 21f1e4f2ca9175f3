"""Models that are loaded, write their logs full and are unloaded over HTTP, again and again; and what stays of that."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass, fields
from pathlib import Path

import httpx
import psutil

from fakes import api
from launchdeck.domain.deployment import Deployment
from launchdeck.serving.logs import LogBuffer


@dataclass(frozen=True, slots=True)
class Traces:
    """What an application has of its models: on disk, of the kernel, in memory, and in what it tells."""

    folders: int
    disk_bytes: int
    runtime_files: int
    descriptors: int
    threads: int
    deployments: int
    logs: int
    tasks: int
    series: int
    resident_bytes: int

    def more_than(self, earlier: Traces) -> list[str]:
        """What there is more of than there was, but for memory and threads, some of which are kept for later."""
        counted = (field.name for field in fields(self) if field.name not in {"resident_bytes", "threads"})
        return [name for name in counted if getattr(self, name) > getattr(earlier, name)]


async def traces(bench: api.ApiBench, http: httpx.AsyncClient) -> Traces:
    """As it is at this moment."""
    series = sum(not line.startswith("#") for line in (await http.get("/metrics")).text.splitlines())
    gc.collect()
    kept = gc.get_objects()
    paths = bench.setup.paths
    return Traces(
        folders=len(list(paths.records.iterdir())) if paths.records.exists() else 0,
        disk_bytes=sum(_size(file) for file in paths.state.rglob("*")),
        runtime_files=len(list(paths.runtime.iterdir())),
        descriptors=len(list(Path("/proc/self/fd").iterdir())),
        threads=threading.active_count(),
        deployments=sum(type(one) is Deployment for one in kept),
        logs=sum(type(one) is LogBuffer for one in kept),
        tasks=len(asyncio.all_tasks()),
        series=series,
        resident_bytes=psutil.Process().memory_info().rss,
    )


def _size(file: Path) -> int:
    try:
        return file.stat().st_blocks * 512
    except FileNotFoundError:
        return 0


async def cycles(bench: api.ApiBench, http: httpx.AsyncClient, count: int) -> AsyncIterator[Traces]:
    """Load and unload so many models with names of their own, and tell after each."""
    for number in range(count):
        name = f"model-{number}"
        started = await bench.load(http, model_id=name)
        await bench.until(http, name, "running")
        assert bench.manager.log(started["id"]).lines_since(0)[0] > 0  # it runs when its log has been read that far
        answer = await http.post("/api/inference/unload", json={"model_id": started["id"]})
        assert answer.status_code == 200, answer.text
        await _until_shims_are_gone(bench)
        yield await traces(bench, http)


async def _until_shims_are_gone(bench: api.ApiBench) -> None:
    """A supervisor tells that its model has ended and ends then."""
    async with asyncio.timeout(api.DEADLINE_S):
        while list(bench.setup.paths.runtime.glob("*.sock")):
            await asyncio.sleep(0.02)
