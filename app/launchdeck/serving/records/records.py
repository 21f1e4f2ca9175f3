"""What the shims wrote down, read back: every model that was started, whoever has died since.

A record is written by its shim alone (shim_record.py). No secret ever stands in one. It is trusted as little as any
file: its identity is its folder's name, and all it says is of the right type and within its limits, or it is none.
"""

from __future__ import annotations

import errno
import logging
import re
import stat
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Annotated, Any, Final

from launchdeck.domain.deployment import DEPLOYMENT_ID, Exit
from launchdeck.domain.errors import Cause, Failure
from launchdeck.domain.limits import Between, Pid, StartTime, UnixSeconds
from launchdeck.domain.plan import LaunchPlan
from launchdeck.domain.request import ModelLoadRequest
from launchdeck.domain.text import Message
from launchdeck.engines.registry import engine_of
from launchdeck.files.aside import is_aside, set_aside
from launchdeck.files.reading import read_json
from launchdeck.serving.failures import broken_record, newer_record, unreadable_record
from launchdeck.serving.records.codec import from_json, to_json
from launchdeck.serving.records.first_version import fix_of, plan_of
from launchdeck.serving.shim.mark import VALUE
from launchdeck.serving.shim.processes import boot_id
from launchdeck.serving.shim.record import RECORD_NAME, RECORD_VERSION, SOCKET_SUFFIX
from launchdeck.serving.sweeping import Mark

logger = logging.getLogger(__name__)

ExitCode = Annotated[int, Between(-255, 255)]
_BOOT_ID_LENGTH: Final = 64
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

    ready_at_s: UnixSeconds | None = None
    failure: Failure | None = None


@dataclass(frozen=True, slots=True)
class ShimStatus:
    """One moment of a shim, from its socket or its record. Processes are (pid, start time); times are Unix seconds.

    `exit_code` is negative for a signal. `tree` holds the engine first. `mark` is what all that it started carries in
    its environment; None: an earlier version wrote the record, and marked nothing.
    """

    id: str
    boot_id: str
    created_at_s: UnixSeconds
    socket: Path
    shim: tuple[Pid, StartTime] | None
    engine: tuple[Pid, StartTime] | None
    tree: tuple[tuple[Pid, StartTime], ...]
    ended_at_s: UnixSeconds | None
    stop_asked: bool
    exit_code: ExitCode | None
    start_error: StartError | None
    note: Note
    mark: str | None = field(default=None, repr=False)

    @classmethod
    def of(cls, facts: dict[str, Any]) -> ShimStatus:
        """Raises ValueError."""
        status: ShimStatus = from_json(cls, facts)
        if not DEPLOYMENT_ID.fullmatch(status.id) or len(status.boot_id) > _BOOT_ID_LENGTH:
            raise ValueError(f"{status.id!r:.100} is no deployment")
        if not status.socket.is_absolute() or status.socket.name != status.id + SOCKET_SUFFIX:
            raise ValueError(f"{str(status.socket)!r:.100} is no socket of {status.id}")
        if status.mark is not None and not VALUE.fullmatch(status.mark):
            raise ValueError("the mark is none of ours")
        failure = status.note.failure
        return status if failure is None else replace(status, note=replace(status.note, failure=_usable(failure)))

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
        """What is on record and may have outlived its shim, which is older than all it started."""
        if self.shim is None or not self._may_have_left_any():
            return []
        return [process for process in self.processes() if process[1] >= self.shim[1]]

    def survivors_mark(self) -> Mark | None:
        """What those carry that are not on record; None where nothing can have outlived its shim, or was marked."""
        if self.shim is None or self.mark is None or not self._may_have_left_any():
            return None
        return Mark(self.id, self.mark, since=self.shim[1])

    def _may_have_left_any(self) -> bool:
        """Of another boot nothing is left, and a shim writes down the end when nothing is."""
        return self.boot_id == boot_id() and self.ended_at_s is None

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
    """All records that can be used, oldest first; `tell` hears why one cannot, and one never keeps another from being
    read. A broken one is set aside, its folder stays; a newer one and one that cannot be read now stay where they are.
    """
    records = []
    for path in _record_files(folder, tell):
        try:
            records.append(read_record(path))
        except FileNotFoundError:
            continue  # its folder holds none, or it has just been removed
        except NewerRecordError:
            tell(newer_record(path))
        except OSError as error:
            tell(unreadable_record(path, error))
        except ValueError as error:
            # behind a link lies what is not ours: it is the link that is renamed
            kept = set_aside(path.parent if path.parent.is_symlink() else path)
            tell(broken_record(path, str(error), kept))
    return sorted(records, key=lambda record: record.status.created_at_s)


def _record_files(folder: Path, tell: Callable[[Message], None]) -> list[Path]:
    try:
        names = sorted(place.name for place in folder.iterdir())
    except FileNotFoundError:
        return []
    except OSError as error:
        tell(unreadable_record(folder, error))
        return []
    return [folder / name / RECORD_NAME for name in names if not is_aside(name)]


def read_record(path: Path) -> Record:
    """The record in this file, whose folder's name is the deployment's id.

    Raises:
        OSError: it cannot be read now.
        ValueError: it is broken, or lies where no record belongs; NewerRecordError for one of a later version.
    """
    folder = path.parent
    try:
        is_record = stat.S_ISREG(path.lstat().st_mode)
    except NotADirectoryError:  # a file beside the folders
        raise FileNotFoundError(errno.ENOENT, "no folder", str(folder)) from None
    if not is_record or folder.is_symlink() or not DEPLOYMENT_ID.fullmatch(folder.name):
        raise ValueError("no record of ours lies here")
    facts = read_json(path)
    version = facts.get("version") if isinstance(facts, dict) else None
    if type(version) is not int or version < 1:
        raise ValueError("not a record")
    if version > RECORD_VERSION:
        raise NewerRecordError(f"version {version}")
    status, plan = ShimStatus.of(facts), from_json(LaunchPlan, plan_of(facts.get("plan")))
    engine_of(plan.engine.kind)  # somebody has to know what it says
    if status.id != folder.name:
        raise ValueError(f"it speaks of {status.id}")
    _check_fixes(status.note.failure, plan)
    return Record(folder, status, plan)


def _check_fixes(failure: Failure | None, plan: LaunchPlan) -> None:
    """A fix is a button that changes the request. Raises ValueError for one that would make none of it."""
    request = to_json(plan.request)
    for fix in failure.fixes if failure is not None else ():
        from_json(ModelLoadRequest, request | {name: to_json(value) for name, value in fix.changes})


def _usable(failure: Failure) -> Failure:
    """Without the fixes that change what no request of this version has; they are no more than a help."""
    known = {field.name for field in fields(ModelLoadRequest)}
    fixes = tuple(fix for fix in map(fix_of, failure.fixes) if fix and {name for name, _ in fix.changes} <= known)
    if len(fixes) < len(failure.fixes):
        logger.info("Of %d fixes %d can still be offered", len(failure.fixes), len(fixes))
    return replace(failure, fixes=fixes)


def read_again(record: Record) -> Record:
    """What its shim has written since."""
    try:
        return read_record(record.folder / RECORD_NAME)
    except (OSError, ValueError) as error:
        logger.warning("The record of %s cannot be read again: %s", record.status.id, error)
        return record
