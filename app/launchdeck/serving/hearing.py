"""What a shim tells of its engine (its process tree, its log, its end), and what that means for a deployment."""

from __future__ import annotations

import binascii
import logging
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from launchdeck.domain.deployment import Deployment, State
from launchdeck.engines.devices.placed import misplaced
from launchdeck.serving.failures import gpus_lost
from launchdeck.serving.findings import LogReader
from launchdeck.serving.lifecycle import Event
from launchdeck.serving.records.recall import explain
from launchdeck.serving.records.records import ShimStatus

if TYPE_CHECKING:
    import asyncio

    from launchdeck.domain.errors import Failure
    from launchdeck.engines.adapter import EngineAdapter, Findings
    from launchdeck.serving.logs import LogBuffer

logger = logging.getLogger(__name__)


class Heard(Protocol):
    """Whose shim it is: the supervisor, which alone writes the deployment's state."""

    deployment: Deployment

    def is_loading(self) -> bool: ...
    def is_ending(self) -> bool: ...
    def change(self, event: Event | None = None, **changes: Any) -> None: ...


class Hearing:
    """Lives in the event loop. Begins anew with every launch.

    Attributes:
        last_sign_s: when the engine last said anything (monotonic seconds).
        log_offset: up to where its log is here, in bytes from its beginning.
        status: what its shim said last; None until there is one.
    """

    def __init__(self, heard: Heard, adapter: EngineAdapter, log: LogBuffer) -> None:
        self.last_sign_s = 0.0
        self.log_offset = 0
        self.status: ShimStatus | None = None
        self._heard = heard
        self._adapter = adapter
        self._log = log
        self._reader = LogReader(adapter, log)

    @property
    def findings(self) -> Findings:
        """What the engine's log has told so far."""
        return self._reader.findings

    @property
    def is_recognised(self) -> bool:
        """Tell whether the log or the system explains why the engine has failed."""
        has_not_begun = self.status is not None and self.status.start_error is not None
        return self.findings.failure is not None or has_not_begun

    def begin_again(self) -> None:
        """Forget what an earlier launch told; its log stays in the buffer."""
        self.status = None
        self._reader = LogReader(self._adapter, self._log)

    def begin(self, status: dict[str, Any]) -> None:
        """Listen to a shim that was connected just now."""
        self.log_offset = 0
        self.last_sign_s = time.monotonic()
        self.take_status(status)

    def misplaced(self) -> Failure | None:
        """Tell that the engine has taken a GPU for another one; None where it has not."""
        return misplaced(self._heard.deployment.plan, self.findings.applied)

    def on_event(self, event: dict[str, Any], ended: asyncio.Future[None]) -> None:
        """Take one of a shim's events; `ended` is set when its engine is gone and the log is here to its end."""
        match event["event"]:
            case "log":
                self.log_offset = event["end"]
                self._take_log(binascii.a2b_base64(event["data"]))
            case "dropped":
                self._log.note_dropped(event["size"])
            case "tree":
                self._take_tree(event["tree"])
            case "stopping":
                if not self._heard.is_ending():  # asked for by someone else
                    self._heard.change(Event.STOP)
            case "warning":
                name = self._heard.deployment.id
                logger.warning("The log of %s cannot be written: %s", name, event["reason"])
            case "ended":
                self.take_status(event["status"])
                if event["following"] and not ended.done():  # else it is told again, when the log is here
                    self._reader.end()
                    ended.set_result(None)

    def take_status(self, facts: dict[str, Any]) -> None:
        """Take what a shim answers when it is asked how it stands."""
        self.status = status = ShimStatus.of(facts)
        heard = self._heard
        if heard.deployment.state is State.STARTING and status.engine is not None and not heard.is_ending():
            heard.change(Event.STARTED)
        heard.change(pids=tuple(pid for pid, _ in status.tree))

    def explain(self) -> Failure | None:
        """Say why the engine is gone, now that its shim has told how it went; None: as asked."""
        if self.status is None or self.status.stop_asked:
            return None
        failure = explain(self.status, self._reader, self._adapter)
        is_lost = bool(self._heard.deployment.lost_gpus) and self.findings.failure is None
        return gpus_lost(self._heard.deployment, failure) if is_lost else failure

    def _take_tree(self, processes: list[list[int]]) -> None:
        if self.status is not None:
            tree = tuple((pid, start) for pid, start in processes)
            self.status = replace(self.status, tree=tree)
            self._heard.change(pids=tuple(pid for pid, _ in tree))

    def _take_log(self, data: bytes) -> None:
        self.last_sign_s = time.monotonic()
        before = self.findings
        self._reader.feed(data)
        findings = self.findings
        if findings is before:
            return
        if self._heard.is_loading():
            self._heard.change(progress=findings.progress, stage=findings.stage, applied=findings.applied)
        else:
            self._heard.change(applied=findings.applied)
