"""The one wrapper around QProcess. It runs the launcher of a shim, in a thread of its own.

The thread has Qt's event loop, so this works under any asyncio loop, in the window and without one, and never makes
either wait. A QCoreApplication has to exist.
"""

from __future__ import annotations

import asyncio
import json
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from PySide6.QtCore import QObject, QProcess, Qt, QThread, QTimer, Signal, Slot

from launchdeck.domain.errors import LaunchdeckError
from launchdeck.serving.launcher import COMMAND, LAUNCH_TIMEOUT_S, launch_failed, read_answer

if TYPE_CHECKING:
    from pathlib import Path


logger = logging.getLogger(__name__)

CLOSE_TIMEOUT_S: Final = 1.0

# Workers whose thread hangs, say in starting a program from a disk that is away: the thread still uses them.
_abandoned: list[QObject] = []


@dataclass(frozen=True, slots=True)
class _Order:
    """A launch to be done, and where its outcome goes."""

    spec: bytes
    loop: asyncio.AbstractEventLoop
    outcome: asyncio.Future[Path]

    def resolve(self, outcome: Path | LaunchdeckError) -> None:
        """From any thread."""
        try:
            self.loop.call_soon_threadsafe(self._resolve, outcome)
        except RuntimeError:  # the loop was closed meanwhile: nobody waits
            return

    def _resolve(self, outcome: Path | LaunchdeckError) -> None:
        if self.outcome.done():
            return
        if isinstance(outcome, LaunchdeckError):
            self.outcome.set_exception(outcome)
        else:
            self.outcome.set_result(outcome)


class _Launch(QObject):
    """One run of the launcher, from start to finish; lives in the thread and deletes itself."""

    def __init__(self, order: _Order, parent: QObject) -> None:
        super().__init__(parent)
        self._order = order
        self._process = QProcess(self)
        parameters = QProcess.UnixProcessParameters()
        parameters.flags = (
            QProcess.UnixProcessFlag.CreateNewSession  # a Ctrl-C in the terminal is not for the model
            | QProcess.UnixProcessFlag.ResetSignalHandlers
        )
        self._process.setUnixProcessParameters(parameters)
        self._process.errorOccurred.connect(self._on_error)
        self._process.finished.connect(self._on_finished)
        QTimer.singleShot(int(LAUNCH_TIMEOUT_S * 1000), self, self._process.kill)

    def start(self) -> None:
        self._process.start(COMMAND[0], COMMAND[1:])
        self._process.write(self._order.spec)
        self._process.closeWriteChannel()

    @Slot(QProcess.ProcessError)
    def _on_error(self, error: QProcess.ProcessError) -> None:
        """Only FailedToStart is not followed by `finished`."""
        if error == QProcess.ProcessError.FailedToStart:
            self._end(launch_failed(self._process.errorString()))

    @Slot(int, QProcess.ExitStatus)
    def _on_finished(self, exit_code: int, _status: QProcess.ExitStatus) -> None:
        output = bytes(self._process.readAllStandardOutput().data())
        errors = bytes(self._process.readAllStandardError().data())
        try:
            self._end(read_answer(exit_code, output, errors))
        except LaunchdeckError as error:
            self._end(error)

    def _end(self, outcome: Path | LaunchdeckError) -> None:
        self._order.resolve(outcome)
        # Qt disconnects what is deleted under a lock, and PySide then asks for the interpreter. The window's thread has
        # that, and may want the same lock: both would wait for ever. So nothing is connected any more by then.
        self._process.errorOccurred.disconnect(self._on_error)
        self._process.finished.disconnect(self._on_finished)
        self.deleteLater()


class _Worker(QObject):
    @Slot(object)
    def launch(self, order: _Order) -> None:
        _Launch(order, self).start()


class QtShimLauncher(QObject):
    """A ShimLauncher. Close it before the application ends."""

    _ordered = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self._thread = QThread()
        self._thread.setObjectName("shim-launcher")
        self._worker = _Worker()
        self._worker.moveToThread(self._thread)
        self._ordered.connect(self._worker.launch, Qt.ConnectionType.QueuedConnection)

    async def launch(self, spec: dict[str, Any]) -> Path:
        """Start a shim and give its socket. Raises LaunchdeckError; then nothing runs."""
        self._thread.start()  # does nothing from the second time on; not before, an application may not exist yet
        loop = asyncio.get_running_loop()
        order = _Order(json.dumps(spec).encode(), loop, loop.create_future())
        self._ordered.emit(order)
        return await order.outcome

    def close(self) -> None:
        """End the thread; a launcher that is still at work is ended with it. A thread that hangs is left alone."""
        self._thread.quit()
        if not self._thread.wait(int(CLOSE_TIMEOUT_S * 1000)):
            logger.warning("The thread that starts supervisors does not end; it is left alone.")
            _abandoned.append(self._worker)
            # Qt aborts the process where a running QThread is destroyed; see monitor/sampler.py.
            self._thread.setParent(QThread.currentThread())
