"""Deployments without the application: the command line reads the records and speaks to the shims itself."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from launchdeck.domain.errors import LaunchdeckError
from launchdeck.domain.text import Message
from launchdeck.files.removal import remove_tree
from launchdeck.serving.deadline import CLEARING_S
from launchdeck.serving.failures import cannot_be_ended, ended_by_force, newer_shim, not_found, record_stays
from launchdeck.serving.findings import READ_BYTES, LogReader
from launchdeck.serving.logs import LogBuffer
from launchdeck.serving.readings import ram_of
from launchdeck.serving.records.healing import read_healed
from launchdeck.serving.records.recall import clear, is_supervised, reach, recall_ended, recall_live
from launchdeck.serving.records.records import Record, ShimStatus, read_again, read_records
from launchdeck.serving.shim.log import read_log
from launchdeck.serving.shim.processes import is_alive
from launchdeck.serving.shim_client import NewerShimError, ShimClient

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from launchdeck.domain.deployment import Deployment
    from launchdeck.domain.plan import EngineKind
    from launchdeck.engines.adapter import EngineAdapter
    from launchdeck.settings.paths import Paths

logger = logging.getLogger(__name__)

KEEP_TIMEOUT_S: Final = 0.3
GRACE_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Seen:
    """A deployment as its supervisor and its log have it; its key where it lives."""

    deployment: Deployment
    api_key: str | None = None


async def look(paths: Paths, adapters: Mapping[EngineKind, EngineAdapter]) -> list[Seen]:
    """Every deployment on record, oldest first. Nothing is changed."""
    records = await asyncio.to_thread(read_healed, paths)
    return list(await asyncio.gather(*(_look(record, adapters[record.plan.engine.kind]) for record in records)))


async def status(paths: Paths, adapters: Mapping[EngineKind, EngineAdapter]) -> list[Deployment]:
    """The same without keys."""
    return [seen.deployment for seen in await look(paths, adapters)]


async def living(paths: Paths) -> list[Deployment]:
    """Those whose supervisors live, oldest first, and what they hold. No log is read: what it tells is not known."""
    records = await asyncio.to_thread(read_healed, paths)
    found = await asyncio.gather(*(_live(record) for record in records if is_supervised(record.status)))
    return [deployment for deployment in found if deployment is not None]


async def _live(record: Record) -> Deployment | None:
    try:
        client = await reach(record.status)
    except NewerShimError:
        return recall_live(record, record.status)
    if client is None:
        return recall_live(record, record.status) if is_supervised(record.status) else None
    await client.close()
    live = recall_live(record, ShimStatus.of(client.status))
    return replace(live, own_ram_bytes=ram_of(live.pids).own_bytes)


async def _look(record: Record, adapter: EngineAdapter) -> Seen:
    try:
        client = await reach(record.status)
    except NewerShimError:
        return Seen(recall_live(record, record.status))
    if client is None and is_supervised(record.status):
        return Seen(recall_live(record, record.status))
    if client is None:
        return Seen(recall_ended(read_again(record), adapter, LogBuffer()))
    try:
        client.listen(lambda _event: None)
        api_key = (await client.ask("secrets"))["secrets"].get("api_key")
    except ConnectionError as error:
        logger.warning("The supervisor of %s does not give its key: %s", record.plan.model_id, error)
        api_key = None
    finally:
        await client.close()
    live = recall_live(record, ShimStatus.of(client.status))
    reader = LogReader(adapter, LogBuffer())
    reader.feed(read_log(str(record.folder), 0, READ_BYTES)[1])  # what an engine applies, it says at its start
    found = reader.findings
    ram = ram_of(live.pids)
    seen = replace(
        live,
        applied=found.applied,
        progress=found.progress,
        rss_bytes=ram.rss_bytes,
        own_ram_bytes=ram.own_bytes,
    )
    return Seen(seen, api_key)


def log(paths: Paths, name: str, adapters: Mapping[EngineKind, EngineAdapter]) -> LogBuffer:
    """What a deployment has written, by its id or its model's. Raises LaunchdeckError."""
    record = _find(paths, name)
    buffer = LogBuffer()
    recall_ended(record, adapters[record.plan.engine.kind], buffer)
    return buffer


class LogFollower:
    """The log of a deployment on disk, read on from where the last reading ended."""

    def __init__(self, paths: Paths, name: str) -> None:
        """By the deployment's id or its model's. Raises LaunchdeckError."""
        self._record = _find(paths, name)
        self._buffer = LogBuffer()
        self._offset = 0

    def is_live(self) -> bool:
        """Whether its supervisor lives, so that more may come."""
        return is_supervised(self._record.status)

    def read(self) -> LogBuffer:
        """All that was written so far."""
        while True:
            start, data = read_log(str(self._record.folder), self._offset, READ_BYTES)
            if not data:
                return self._buffer
            if start > self._offset:
                self._buffer.note_dropped(start - self._offset)
            self._buffer.feed(data)
            self._offset = start + len(data)

    def read_last(self) -> LogBuffer:
        """The same when nothing will come any more: what has not ended is a line too."""
        buffer = self.read()
        if buffer.partial:
            buffer.feed(b"\n")
        return buffer


def _log(note: Message) -> None:
    logger.warning("%s", note)


async def stop(paths: Paths, name: str, *, grace_s: float = GRACE_S, tell: Callable[[Message], None] = _log) -> bool:
    """Returns when nothing is left of it, and then of its record. Tells whether it ran; `tell` hears of one that could
    not be stopped as usual. `grace_s` is what its engine gets to end by itself. Raises LaunchdeckError.
    """
    return await _stop(await asyncio.to_thread(_find, paths, name), paths, grace_s, tell)


async def stop_all(paths: Paths, *, grace_s: float = GRACE_S, tell: Callable[[Message], None] = _log) -> list[str]:
    """The names of those that ran; nothing is left of those either whose supervisors were killed. As `stop`.

    Raises LaunchdeckError for the first that could not be stopped, when all others are.
    """
    records = await asyncio.to_thread(read_healed, paths)
    live = [record for record in records if is_supervised(record.status)]
    lost = [record for record in records if record.status.survivors() and record not in live]
    stops = [*(_stop(record, paths, grace_s, tell) for record in live), *(_clear(record, paths) for record in lost)]
    for outcome in await asyncio.gather(*stops, return_exceptions=True):
        if isinstance(outcome, BaseException):
            raise outcome
    return [record.plan.model_id for record in live]


def keep_all(paths: Paths) -> None:
    """Have every supervisor keep its model when the application dies, which is about to. Blocks for moments at most.

    No event loop is needed: the application's may be what hangs.
    """
    for record in read_records(paths.records):
        if is_supervised(record.status):
            try:
                _keep(record.status.socket)
            except OSError as error:
                logger.warning("The supervisor of %s could not be told to keep it: %s", record.plan.model_id, error)


def _keep(path: Path) -> None:
    requests = ({"id": 1, "do": "hold", "when_app_dies": "keep"}, {"id": 2, "do": "release"})
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(KEEP_TIMEOUT_S)
        client.connect(str(path))
        client.sendall(b"".join(json.dumps(request).encode() + b"\n" for request in requests))
        answers = b""
        while answers.count(b'"reply"') < len(requests):
            data = client.recv(READ_BYTES)
            if not data:
                return
            answers += data


async def _stop(record: Record, paths: Paths, grace_s: float, tell: Callable[[Message], None]) -> bool:
    try:
        client = await reach(record.status)
    except NewerShimError as error:
        raise LaunchdeckError(newer_shim(record.plan.model_id)) from error
    was_live = is_supervised(record.status)
    has_ended = client is not None and await _stop_live(client, record, grace_s)
    if not has_ended:
        is_forced = is_supervised(record.status)
        await _clear(record, paths)
        if is_forced:
            tell(Message("{name}: {how}", name=record.plan.model_id, how=ended_by_force()))
    try:
        remove_tree(record.folder.parent, record.status.id)
    except OSError as error:
        logger.warning("%s", record_stays(record.folder, error))
    return was_live


async def _clear(record: Record, paths: Paths) -> None:
    """Leave nothing of what has no supervisor, or one that hangs. Raises LaunchdeckError for what cannot be killed."""
    status = read_again(record).status
    engine = status.engine
    is_there = engine is not None and engine in status.survivors() and is_alive(engine)
    session = frozenset((engine[0],) if engine is not None and is_there else ())
    left = await asyncio.to_thread(clear, status, paths.sockets, session)
    if left:
        raise LaunchdeckError(cannot_be_ended(record.plan.model_id, left))


async def _stop_live(client: ShimClient, record: Record, grace_s: float) -> bool:
    """Whether its shim has told in time that nothing is left."""
    ended = asyncio.Event()
    listening = client.listen(lambda event: ended.set() if event["event"] == "ended" else None)
    waiting = asyncio.create_task(ended.wait())
    try:
        await client.ask("stop", grace_s=grace_s)
        patience_s = grace_s + CLEARING_S
        await asyncio.wait({listening, waiting}, timeout=patience_s, return_when=asyncio.FIRST_COMPLETED)
    except ConnectionError as error:
        logger.warning("The supervisor of %s does not stop it: %s", record.plan.model_id, error)
    finally:
        waiting.cancel()
        await client.close()
    return ended.is_set()


def _find(paths: Paths, name: str) -> Record:
    """By the deployment's id or the model's, the newest first."""
    for record in reversed(read_healed(paths)):
        if name in {record.status.id, record.plan.model_id}:
            return record
    raise not_found(name)
