"""What the shims wrote down, read back: every model that was started, whoever has died since.

A record is written by its shim alone (shim_record.py). No secret ever stands in one.
"""

from __future__ import annotations

import errno
import json
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from launchdeck.domain.deployment import Exit
from launchdeck.domain.errors import Cause, Failure
from launchdeck.domain.plan import LaunchPlan
from launchdeck.domain.text import Message
from launchdeck.serving.codec import from_json
from launchdeck.serving.failures import newer_record
from launchdeck.serving.processes import boot_id
from launchdeck.serving.shim_record import RECORD_NAME, RECORD_VERSION

logger = logging.getLogger(__name__)

_UNREADABLE: Final = (OSError, ValueError)
_ERRNO: Final = re.compile(r"^\[Errno (\d+)\]")
_CHECK_THE_FILE: Final = Message("Check that the file is there and may be executed, or choose another engine.")
_START_ADVICE: Final = {
    errno.ENOEXEC: Message("It is damaged, or was built for another kind of computer: choose another engine."),
    errno.EACCES: Message("Let this user execute it (chmod +x), or choose another engine."),
    errno.EAGAIN: Message("Raise the limits of processes (ulimit -u, the unit's TasksMax), or stop other programs."),
    errno.ENOMEM: Message("Free some memory, or use less context or a smaller model."),
}


@dataclass(frozen=True, slots=True)
class StartError:
    """Why the engine could not be executed."""

    path: str
    reason: str

    @property
    def advice(self) -> Message:
        """What to do about it, by the number that the system gave it."""
        found = _ERRNO.search(self.reason)
        return _START_ADVICE.get(int(found[1]) if found else 0, _CHECK_THE_FILE)


@dataclass(frozen=True, slots=True)
class Note:
    """What the application had the shim keep for the next one."""

    ready_at_s: float | None = None
    failure: Failure | None = None


@dataclass(frozen=True, slots=True)
class ShimStatus:
    """One moment of a shim, from its socket or its record. Processes are (pid, start time); times are Unix seconds.

    `exit_code` is negative for a signal. `tree` holds the engine first.
    """

    id: str
    boot_id: str
    created_at_s: float
    socket: Path
    shim: tuple[int, int] | None
    engine: tuple[int, int] | None
    tree: tuple[tuple[int, int], ...]
    ended_at_s: float | None
    stop_asked: bool
    exit_code: int | None
    start_error: StartError | None
    note: Note

    @classmethod
    def of(cls, facts: dict[str, Any]) -> ShimStatus:
        """Raises ValueError."""
        status: ShimStatus = from_json(cls, facts)
        return status

    @property
    def exit(self) -> Exit | None:
        if self.exit_code is None:
            return None
        return Exit(self.exit_code, None) if self.exit_code >= 0 else Exit(None, -self.exit_code)

    def processes(self) -> list[tuple[int, int]]:
        """Everything that is known of it, its shim as well."""
        known = (self.shim, self.engine, *self.tree)
        return [process for process in known if process is not None]

    def survivors(self) -> list[tuple[int, int]]:
        """What may have outlived its shim; of another boot nothing has."""
        return self.processes() if self.boot_id == boot_id() and self.ended_at_s is None else []

    @property
    def start_failure(self) -> Failure | None:
        if self.start_error is None:
            return None
        return Failure(
            Cause.START_FAILED,
            Message(
                "{path} could not be started: {reason}", path=self.start_error.path, reason=self.start_error.reason
            ),
            self.start_error.advice,
        )


@dataclass(frozen=True, slots=True)
class Record:
    """A deployment on disk: `folder` holds its record and its log."""

    folder: Path
    status: ShimStatus
    plan: LaunchPlan


class NewerRecordError(ValueError):
    """A later version of Launchdeck wrote it, and meant something by it that this one cannot know."""


def _log(problem: Message) -> None:
    logger.warning("%s", problem)


def read_records(folder: Path, tell: Callable[[Message], None] = _log) -> list[Record]:
    """All records that can be used, oldest first; `tell` hears why one cannot. A broken one is kept as `.corrupt`; a
    newer one stays in its place, and what it speaks of is left alone.
    """
    records = []
    for path in folder.glob(f"*/{RECORD_NAME}"):
        try:
            records.append(read_record(path))
        except NewerRecordError:
            tell(newer_record(path))
        except _UNREADABLE as error:
            kept = path.with_suffix(".corrupt")
            tell(
                Message(
                    "The record {path} of a model cannot be read ({reason}); it is kept as {kept}.",
                    path=path,
                    reason=str(error),
                    kept=kept.name,
                )
            )
            path.replace(kept)
    return sorted(records, key=lambda record: record.status.created_at_s)


def read_record(path: Path) -> Record:
    """Raises OSError, ValueError for a record that is broken, NewerRecordError for one of a later version."""
    facts = json.loads(path.read_bytes())
    version = facts.get("version") if isinstance(facts, dict) else None
    if not isinstance(version, int):
        raise ValueError("not a record")  # noqa: TRY004 (what a file holds, not a mistake in the program)
    if version > RECORD_VERSION:
        raise NewerRecordError(f"version {version}")
    return Record(path.parent, ShimStatus.of(facts), from_json(LaunchPlan, facts.get("plan")))


def read_again(record: Record) -> Record:
    """What its shim has written since."""
    try:
        return read_record(record.folder / RECORD_NAME)
    except _UNREADABLE as error:
        logger.warning("The record of %s cannot be read again: %s", record.status.id, error)
        return record
