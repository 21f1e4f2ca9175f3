"""Deployments without the application: the command line reads the records and speaks to the shims itself."""

from __future__ import annotations

import asyncio
import shutil
from typing import TYPE_CHECKING, Any

from launchdeck.serving.failures import not_found, shim_silent
from launchdeck.serving.logs import LogBuffer
from launchdeck.serving.recall import is_supervised, recall_ended, recall_live
from launchdeck.serving.records import Record, ShimStatus, read_records
from launchdeck.serving.shim_client import ShimClient

if TYPE_CHECKING:
    from collections.abc import Mapping

    from launchdeck.domain.deployment import Deployment
    from launchdeck.domain.plan import EngineKind
    from launchdeck.engines.adapter import EngineAdapter
    from launchdeck.settings.paths import Paths


async def status(paths: Paths, adapters: Mapping[EngineKind, EngineAdapter]) -> list[Deployment]:
    """Every deployment on record, oldest first. Nothing is changed."""
    return [await _look(record, adapters[record.plan.engine.kind]) for record in read_records(paths.records)]


async def _look(record: Record, adapter: EngineAdapter) -> Deployment:
    if not is_supervised(record.status):
        return recall_ended(record, adapter, LogBuffer())
    try:
        client = await ShimClient.connect(record.status.socket)
    except ConnectionError:  # its record is hardly older
        return recall_live(record, record.status)
    await client.close()
    return recall_live(record, ShimStatus.of(client.status))


def log(paths: Paths, name: str, adapters: Mapping[EngineKind, EngineAdapter]) -> LogBuffer:
    """What a deployment has written, by its id or its model's. Raises LaunchdeckError."""
    record = _find(paths, name)
    buffer = LogBuffer()
    recall_ended(record, adapters[record.plan.engine.kind], buffer)
    return buffer


async def stop(paths: Paths, name: str) -> None:
    """Returns when nothing is left of it; its record goes as well. Raises LaunchdeckError."""
    await _stop(_find(paths, name))


async def stop_all(paths: Paths) -> None:
    """Raises LaunchdeckError for the first that does not answer, when all others are stopped."""
    live = [record for record in read_records(paths.records) if is_supervised(record.status)]
    outcomes = await asyncio.gather(*map(_stop, live), return_exceptions=True)
    for outcome in outcomes:
        if outcome is not None:
            raise outcome


async def _stop(record: Record) -> None:
    if is_supervised(record.status):
        await _stop_live(record)
    shutil.rmtree(record.folder)


async def _stop_live(record: Record) -> None:
    has_ended = False

    def on_event(event: dict[str, Any]) -> None:
        nonlocal has_ended
        if event["event"] == "ended":
            has_ended = True
            listening.cancel()

    try:
        client = await ShimClient.connect(record.status.socket)
        listening = client.listen(on_event)
        await client.ask("stop")
        await asyncio.wait({listening})
        await client.close()
    except ConnectionError as error:
        raise shim_silent(record.plan.model_id) from error
    if not has_ended:
        raise shim_silent(record.plan.model_id)


def _find(paths: Paths, name: str) -> Record:
    """By the deployment's id or the model's, the newest first."""
    for record in reversed(read_records(paths.records)):
        if name in {record.status.id, record.plan.model_id}:
            return record
    raise not_found(name)
