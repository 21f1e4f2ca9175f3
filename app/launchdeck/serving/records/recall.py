"""Deployments made from records: what they were, whoever has died since."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from launchdeck.domain.deployment import Deployment, State
from launchdeck.files.looking import real
from launchdeck.files.removal import remove_socket
from launchdeck.serving.failures import machine_restarted, supervisor_lost
from launchdeck.serving.findings import LogReader
from launchdeck.serving.logs import LogBuffer
from launchdeck.serving.records.records import ShimStatus
from launchdeck.serving.shim.processes import boot_id, is_alive
from launchdeck.serving.shim_client import NewerShimError, ShimClient
from launchdeck.serving.sweeping import sweep

if TYPE_CHECKING:
    from pathlib import Path

    from launchdeck.domain.errors import Failure
    from launchdeck.engines.adapter import EngineAdapter
    from launchdeck.serving.records.records import Record
    from launchdeck.serving.shim.processes import Process

logger = logging.getLogger(__name__)

# An exit is explained by so many lines, of which the last are shown.
TAIL_LINES: Final = 1000
REACH_PATIENCE_S: Final = 5.0
REACH_RETRY_S: Final = 0.1
SWEEP_TIMEOUT_S: Final = 5.0


def is_supervised(status: ShimStatus) -> bool:
    """Whether its shim lives: the very process, in this boot."""
    return status.shim is not None and status.boot_id == boot_id() and is_alive(status.shim)


async def reach(status: ShimStatus, patience_s: float = REACH_PATIENCE_S) -> ShimClient | None:
    """A connection to its shim; None if that is gone, or does not answer in time. Raises NewerShimError.

    A shim whose socket has vanished makes it again within seconds. One that is about to go has none any more.
    """
    try:
        async with asyncio.timeout(patience_s):
            while is_supervised(status):
                try:
                    return await _connect(status)
                except NewerShimError:
                    raise
                except ConnectionError:
                    await asyncio.sleep(REACH_RETRY_S)
    except TimeoutError:
        logger.info("The supervisor of %s does not answer", status.id)
    return None


async def _connect(status: ShimStatus) -> ShimClient:
    """Raises ConnectionError: nobody answers, or somebody else; NewerShimError."""
    client = await ShimClient.connect(status.socket)
    try:
        is_meant = ShimStatus.of(client.status).id == status.id
    except ValueError as error:
        logger.warning("What answers at %s is no supervisor: %s", status.socket, error)
        is_meant = False
    if not is_meant:
        await client.close()
        raise ConnectionError(f"the supervisor of {status.id} does not answer at {status.socket}")
    return client


def clear(status: ShimStatus, sockets: Path, sessions: frozenset[int] = frozenset()) -> list[Process]:
    """Leave nothing of what a shim that died had: no process, no socket. Gives back what would not die. Blocks.

    A socket elsewhere than in `sockets` is of another login's runtime folder, which goes with that. `sessions` as in
    `sweep`.
    """
    left = sweep(status.survivors(), SWEEP_TIMEOUT_S, sessions, status.survivors_mark())
    if status.socket.parent == sockets:
        try:
            remove_socket(real(sockets), status.socket.name)
        except OSError as error:
            logger.warning("The socket of %s could not be removed: %s", status.id, error)
    return left


def explain(status: ShimStatus, reader: LogReader, adapter: EngineAdapter) -> Failure:
    """Why an engine ended though nobody asked it to."""
    if status.start_failure is not None:
        return status.start_failure
    if status.exit is None:
        return supervisor_lost()
    return adapter.explain_exit(reader.findings, status.exit, reader.buffer.tail(TAIL_LINES))


def recall_live(record: Record, status: ShimStatus) -> Deployment:
    """A deployment whose shim lives, as far as the shim can tell."""
    ready_at_s = status.note.ready_at_s
    state = State.LOADING if ready_at_s is None else State.RUNNING
    return Deployment(
        id=status.id,
        plan=record.plan,
        state=State.STOPPING if status.stop_asked else state,
        created_at_s=status.created_at_s,
        ready_at_s=ready_at_s,
        pids=tuple(pid for pid, _ in status.tree),
        adopted=True,
    )


def recall_ended(record: Record, adapter: EngineAdapter, log: LogBuffer) -> Deployment:
    """A deployment whose shim is gone, with the log it left. Touches the disk."""
    status = record.status
    reader = LogReader(adapter, log)
    reader.read_folder(record.folder)
    ended = replace(recall_live(record, status), pids=(), applied=reader.findings.applied, exit=status.exit)
    if status.ended_at_s is None:
        was_restarted = status.boot_id != boot_id()
        failure = machine_restarted() if was_restarted else supervisor_lost()
        return replace(ended, state=State.FAILED, failure=failure)
    if status.stop_asked and status.note.failure is None:
        return replace(ended, state=State.STOPPED, ended_at_s=status.ended_at_s)
    failure = status.note.failure or explain(status, reader, adapter)
    return replace(ended, state=State.FAILED, failure=failure, ended_at_s=status.ended_at_s)
