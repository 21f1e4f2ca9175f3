"""The one window: what there is, what happens, what to do next, side by side."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from PySide6.QtCore import QMimeData, QSize, Qt, QTimer, Signal
from PySide6.QtGui import QCloseEvent, QDragEnterEvent, QDropEvent, QKeySequence, QPaintEvent, QShortcut
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QMainWindow, QSplitter, QTabWidget, QVBoxLayout, QWidget

from launchdeck.ui.charts.charts import Charts
from launchdeck.ui.deploy.deploy_form import DeployForm
from launchdeck.ui.deployments.deployments_view import DeploymentsView
from launchdeck.ui.gpus.gpu_cards import GpuCards
from launchdeck.ui.kit.i18n import tr
from launchdeck.ui.kit.notice import Notice
from launchdeck.ui.window import fitting
from launchdeck.ui.window.status_line import StatusLine
from launchdeck.ui.window.top_bar import TopBar
from launchdeck.ui.window.window_memory import WindowMemory

SMALLEST = (960, 600)
USUAL = (1440, 900)
GAP_PX = 12
CARDS_WIDEST_PX = 340
FORM_WIDEST_PX = 420
CENTRE_NARROWEST_PX = 340


@dataclass(frozen=True, slots=True)
class Panels:
    """What the window is put together from; each is made and filled by its own room."""

    cards: GpuCards
    charts: Charts
    deployments: DeploymentsView
    tabs: QTabWidget
    form: DeployForm


class MainWindow(QMainWindow):
    """Lays the panels out, remembers its geometry, and asks before it goes away.

    `painted` comes once, after the first frame is on the screen: heavy things start then. `close_requested` is about
    the window, which may only hide; `quit_requested` (its key) about the application. `dropped` carries the Path of
    a file or folder that was dropped anywhere on the window.
    """

    painted = Signal()
    close_requested = Signal()
    quit_requested = Signal()
    dropped = Signal(object)

    def __init__(self, panels: Panels, memory: WindowMemory) -> None:
        super().__init__()
        self.setWindowTitle("Launchdeck")
        self.setAcceptDrops(True)
        self._memory = memory
        self._may_close = False
        self._has_painted = False
        self.top_bar = TopBar()
        self.notice = Notice()
        self.status_line = StatusLine()
        self._centre = _centre(panels)
        self._columns = _columns(panels, self._centre)
        body = QVBoxLayout()
        body.setContentsMargins(GAP_PX, GAP_PX, GAP_PX, GAP_PX)
        body.setSpacing(GAP_PX)
        body.addWidget(self.notice)
        body.addWidget(self._columns, 1)
        content = QWidget()
        layout = QVBoxLayout(content)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addWidget(self.top_bar)
        layout.addLayout(body, 1)
        layout.addWidget(self.status_line)
        self.setCentralWidget(content)
        QShortcut(QKeySequence("Ctrl+Q"), self, self.quit_requested.emit)
        self._restore()
        panels.form.setFocus()

    def bring_to_front(self) -> None:
        """Show the window, wherever it is."""
        self.setWindowState(self.windowState() & ~Qt.WindowState.WindowMinimized)
        self.show()
        self.raise_()
        self.activateWindow()

    def show_replay(self) -> None:
        """Say, also where only the title is seen, that the GPUs are not this machine's."""
        self.setWindowTitle(f"Launchdeck · {tr('REPLAY')}")
        self.top_bar.show_replay()

    def close_for_good(self) -> None:
        """Close without asking again, and remember where the window was."""
        self._memory.write(
            {
                "window": bytes(self.saveGeometry().data()),
                "columns": bytes(self._columns.saveState().data()),
                "centre": bytes(self._centre.saveState().data()),
            }
        )
        self._may_close = True
        self.close()

    def closeEvent(self, event: QCloseEvent) -> None:
        if self._may_close:
            event.accept()
        else:
            event.ignore()
            self.close_requested.emit()

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        if _local_paths(event.mimeData()):
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:
        event.acceptProposedAction()
        for path in _local_paths(event.mimeData()):
            self.dropped.emit(path)

    def paintEvent(self, event: QPaintEvent) -> None:
        super().paintEvent(event)
        if not self._has_painted:
            self._has_painted = True
            QTimer.singleShot(0, self.painted.emit)

    def _restore(self) -> None:
        available = fitting.screens()
        self.setMinimumSize(fitting.largest(QSize(*SMALLEST), next(iter(available), None)))
        self.resize(fitting.largest(QSize(*USUAL), next(iter(available), None)))
        geometry = self._memory.geometry("window")
        if geometry is not None and self.restoreGeometry(geometry) and not self.isMaximized():
            self.setGeometry(fitting.fitted(self.geometry(), available))
        for name, splitter in (("columns", self._columns), ("centre", self._centre)):
            sizes = self._memory.sizes(name, splitter.count())
            if sizes is not None:
                splitter.setSizes(sizes)


def _local_paths(data: QMimeData) -> list[Path]:
    return [Path(url.toLocalFile()) for url in data.urls() if url.isLocalFile()]


def _centre(panels: Panels) -> QSplitter:
    centre = QSplitter(Qt.Orientation.Vertical)
    centre.setChildrenCollapsible(False)
    centre.setMinimumWidth(CENTRE_NARROWEST_PX)
    centre.setHandleWidth(GAP_PX)
    for widget, stretch in ((panels.charts, 4), (_panel(panels.deployments), 2), (_panel(panels.tabs), 3)):
        centre.addWidget(widget)
        centre.setStretchFactor(centre.count() - 1, stretch)
    return centre


def _columns(panels: Panels, centre: QSplitter) -> QSplitter:
    columns = QSplitter(Qt.Orientation.Horizontal)
    columns.setChildrenCollapsible(False)
    columns.setHandleWidth(GAP_PX)
    for widget, widest_px, stretch in (
        (_titled(tr("GPUs"), panels.cards), CARDS_WIDEST_PX, 1),
        (centre, None, 4),
        (_titled(tr("Deploy"), panels.form), FORM_WIDEST_PX, 1),
    ):
        columns.addWidget(widget)
        columns.setStretchFactor(columns.count() - 1, stretch)
        if widest_px is not None:
            widget.setMaximumWidth(widest_px)
    columns.setSizes([280, 760, 350])
    return columns


def _panel(widget: QWidget) -> QFrame:
    frame = QFrame()
    frame.setProperty("role", "panel")
    layout = QHBoxLayout(frame)
    layout.setContentsMargins(GAP_PX, 4, GAP_PX, GAP_PX)
    layout.addWidget(widget)
    return frame


def _titled(title: str, widget: QWidget) -> QWidget:
    label = QLabel(title.upper())
    label.setProperty("role", "heading")
    column = QWidget()
    layout = QVBoxLayout(column)
    layout.setContentsMargins(0, 0, 0, 0)
    layout.setSpacing(6)
    layout.addWidget(label)
    layout.addWidget(widget, 1)
    return column
