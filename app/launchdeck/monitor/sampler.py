"""Asking the devices again and again in a thread of their own: a driver call may take long, or never come back."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from PySide6.QtCore import QObject, QThread, QTimer, Signal, Slot

from launchdeck.domain.gpu import Inventory
from launchdeck.hardware.source import InventorySource

logger = logging.getLogger(__name__)

STOP_TIMEOUT_S: Final = 1.5

# Workers whose thread hangs in a driver call when it should have ended: the thread still uses them.
_abandoned: list[QObject] = []


class Sampler(QObject):
    """Reads a source at an interval, the first time at once, and hands every inventory to `sampled`.

    `make_source` is called in the worker thread, and the source lives and is closed there. Besides the signal, which
    needs the event loop of the receiver's thread, `on_sample` is called in the worker thread: a plain asyncio loop
    passes its call_soon_threadsafe on. A QCoreApplication has to exist; its loop need not run.
    """

    sampled = Signal(object)
    _interval_changed = Signal(float)
    _sample_wanted = Signal()
    _refresh_wanted = Signal()
    _reopen_wanted = Signal()

    def __init__(
        self,
        make_source: Callable[[], InventorySource],
        interval_s: float,
        *,
        on_sample: Callable[[Inventory], None] | None = None,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._thread = QThread()
        self._thread.setObjectName("sampler")
        self._worker = _Worker(make_source, interval_s, on_sample)
        self._worker.moveToThread(self._thread)
        self._thread.started.connect(self._worker.sample)
        self._thread.finished.connect(self._worker.end)  # still in the worker's thread, after its last event
        self._interval_changed.connect(self._worker.set_interval_s)
        self._sample_wanted.connect(self._worker.sample)
        self._refresh_wanted.connect(self._worker.refresh)
        self._reopen_wanted.connect(self._worker.reopen)
        self._worker.sampled.connect(self.sampled)

    def start(self) -> None:
        """Begin; the first sample is taken at once."""
        self._thread.start()

    def set_interval_s(self, interval_s: float) -> None:
        """The next sample comes this long from now, and so on."""
        self._interval_changed.emit(interval_s)

    def sample_now(self) -> None:
        """Take a sample besides the regular ones."""
        self._sample_wanted.emit()

    def refresh(self) -> None:
        """Look for devices anew, and take a sample."""
        self._refresh_wanted.emit()

    def reopen(self) -> None:
        """Close the source, have another one made, and take a sample."""
        self._reopen_wanted.emit()

    def stop(self, timeout_s: float = STOP_TIMEOUT_S) -> bool:
        """End the thread; nothing is sampled afterwards. May be called again, and without a start.

        Returns:
            False when the thread hangs in a driver call: it is left alone, and ends with the process.
        """
        self._worker.silence()
        self._thread.quit()
        if self._thread.wait(round(timeout_s * 1000)):
            return True
        if self._worker not in _abandoned:
            logger.warning("A driver call has not come back for %g s; its thread is left alone.", timeout_s)
            _abandoned.append(self._worker)
            # Qt aborts the process if a running QThread is destroyed, and PySide destroys at exit what has no parent.
            # The main thread's own QThread object is the one parent that outlives even the application object.
            self._thread.setParent(QThread.currentThread())
        return False


class _Worker(QObject):
    """Lives in the sampler's thread, where its timer ticks."""

    sampled = Signal(object)

    def __init__(
        self,
        make_source: Callable[[], InventorySource],
        interval_s: float,
        on_sample: Callable[[Inventory], None] | None,
    ) -> None:
        super().__init__()
        self._make_source = make_source
        self._interval_s = interval_s
        self._on_sample = on_sample
        self._source: InventorySource | None = None
        self._timer = QTimer(self)  # moves along to the thread
        self._timer.setSingleShot(True)  # started after a reading, so that slow readings do not pile up
        self._timer.timeout.connect(self.sample)
        self._silent = False
        self._failing = False

    def silence(self) -> None:
        """From any thread: give no more samples."""
        self._silent = True

    @Slot(float)
    def set_interval_s(self, interval_s: float) -> None:
        self._interval_s = interval_s
        self._timer.start(round(interval_s * 1000))

    @Slot()
    def sample(self) -> None:
        """Read once. A source that fails is asked again at the next tick; the log names it once."""
        if self._silent:
            return
        inventory = self._read()
        self._timer.start(round(self._interval_s * 1000))
        if inventory is not None and not self._silent:
            if self._on_sample is not None:
                self._on_sample(inventory)
            self.sampled.emit(inventory)

    @Slot()
    def refresh(self) -> None:
        if self._source is not None:
            self._source.refresh()
        self.sample()

    @Slot()
    def reopen(self) -> None:
        self._close()
        self.sample()

    @Slot()
    def end(self) -> None:
        self._timer.stop()
        self._close()

    def _close(self) -> None:
        source, self._source = self._source, None
        if source is not None:
            source.close()

    def _read(self) -> Inventory | None:
        try:
            if self._source is None:
                self._source = self._make_source()
            inventory = self._source.read()
        except Exception:
            if not self._failing:
                logger.exception("The devices could not be read.")
            self._failing = True
            return None
        self._failing = False
        return inventory
