"""Deployments made from records: what they were, whoever has died since."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from launchdeck.domain.deployment import Deployment, State
from launchdeck.serving.failures import machine_restarted, supervisor_lost
from launchdeck.serving.findings import LogReader
from launchdeck.serving.logs import LogBuffer
from launchdeck.serving.processes import boot_id, is_alive

if TYPE_CHECKING:
    from launchdeck.domain.errors import Failure
    from launchdeck.engines.adapter import EngineAdapter
    from launchdeck.serving.records import Record, ShimStatus

TAIL_LINES: Final = 50


def is_supervised(status: ShimStatus) -> bool:
    """Whether its shim lives: the very process, in this boot."""
    return status.shim is not None and status.boot_id == boot_id() and is_alive(status.shim)


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
