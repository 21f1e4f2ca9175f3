"""The tab that proves what runs: asked, predicted, applied, measured, and everything else there is to know."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QAbstractTableModel, QModelIndex, QPersistentModelIndex, QSize, Qt, QTimer, Signal
from PySide6.QtGui import QColor, QHideEvent, QResizeEvent, QShowEvent
from PySide6.QtWidgets import (
    QFrame,
    QGridLayout,
    QHeaderView,
    QLabel,
    QPushButton,
    QScrollArea,
    QTableView,
    QVBoxLayout,
    QWidget,
)

from launchdeck.engines.document import command_line
from launchdeck.ui.deployments.details_rows import DetailRow, detail_rows
from launchdeck.ui.kit import deployment_text as words
from launchdeck.ui.kit.fonts import mono_font
from launchdeck.ui.kit.format import duration
from launchdeck.ui.kit.i18n import tr
from launchdeck.ui.kit.theme import tokens

if TYPE_CHECKING:
    from launchdeck.domain.deployment import Deployment

_ROW_PX = 29
_USUAL_ROWS = 8
_VALUE_PX = 128
_SMALLEST_VALUE_PX = 84
_LABEL_PX = 170
_CLOCK_MS = 1000
_Index = QModelIndex | QPersistentModelIndex


class DetailsModel(QAbstractTableModel):
    """The lines of `detail_rows` as a Qt table; the header's first cell is the deployment's name."""

    def __init__(self) -> None:
        super().__init__()
        self._name = ""
        self._rows: tuple[DetailRow, ...] = ()

    def show_rows(self, name: str, rows: tuple[DetailRow, ...]) -> None:
        if (name, rows) == (self._name, self._rows):
            return
        self.beginResetModel()
        self._name, self._rows = name, rows
        self.endResetModel()

    def rowCount(self, parent: _Index = QModelIndex()) -> int:  # noqa: B008 (Qt's signature)
        return 0 if parent.isValid() else len(self._rows)

    def columnCount(self, parent: _Index = QModelIndex()) -> int:  # noqa: B008
        return 0 if parent.isValid() else 5

    def data(self, index: _Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if not index.isValid():
            return None
        row, column = self._rows[index.row()], index.column()
        match role:
            case Qt.ItemDataRole.DisplayRole:
                return self._text(row, column)
            case Qt.ItemDataRole.TextAlignmentRole:
                return _alignment(column)
            case Qt.ItemDataRole.ForegroundRole if column == 3 and row.agrees is False:
                return QColor(tokens().warn)
            case Qt.ItemDataRole.ToolTipRole if column == 3 and row.agrees is False:
                return tr("The engine applied something else than the command asked for")
        return None

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if orientation is not Qt.Orientation.Horizontal:
            return None
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return _alignment(section)
        if role == Qt.ItemDataRole.DisplayRole:
            return (self._name, tr("asked"), tr("predicted"), tr("applied"), tr("measured"))[section]
        return None

    @staticmethod
    def _text(row: DetailRow, column: int) -> str:
        if column == 3 and row.agrees is not None:
            return f"{row.applied} ✓" if row.agrees else f"▲ {tr('differs')}  {row.applied}"
        return (row.label, row.asked, row.predicted, row.applied, row.measured)[column]


class DetailsTab(QScrollArea):
    """Follows one deployment. `show_deployment(None)` leaves a sentence.

    `failure_requested` carries the id of the one whose failure is to be shown in the log.
    """

    failure_requested = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._deployment: Deployment | None = None
        self._rows = DetailsModel()
        self._table = _table(self._rows)
        self._empty = QLabel(tr("Choose a deployment above to see what was asked and what really runs."))
        self._empty.setProperty("role", "muted")
        self._empty.setWordWrap(True)
        self._empty.setMargin(8)
        self._facts = QGridLayout()
        self._facts.setHorizontalSpacing(16)
        self._facts.setVerticalSpacing(4)
        self._facts.setContentsMargins(8, 8, 8, 8)
        self._facts.setColumnStretch(1, 1)
        self._values: dict[str, QLabel] = {}
        self._to_log = QPushButton(tr("Show in the log"))
        self._to_log.clicked.connect(self._ask_for_log)
        content = QWidget()
        content.setProperty("role", "page")
        column = QVBoxLayout(content)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self._empty)
        column.addWidget(self._table)
        column.addLayout(self._facts)
        column.addWidget(self._to_log, 0, Qt.AlignmentFlag.AlignLeft)
        column.addStretch(1)
        self.setWidget(content)
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setAccessibleName(tr("Details"))
        self._clock = QTimer(self, interval=_CLOCK_MS)
        self._clock.timeout.connect(self._show_uptime)
        self.show_deployment(None)

    def show_deployment(self, deployment: Deployment | None) -> None:
        """Show this moment of a deployment; the same one again only changes what is different."""
        self._deployment = deployment
        self._empty.setVisible(deployment is None)
        self._table.setVisible(deployment is not None)
        if deployment is None:
            self._rows.show_rows("", ())
        else:
            self._rows.show_rows(deployment.plan.model_id, detail_rows(deployment))
            header_px = self._table.horizontalHeader().sizeHint().height()
            self._table.setFixedHeight(self._rows.rowCount() * _ROW_PX + header_px + 2)
        self._to_log.setVisible(bool(deployment and deployment.failure and deployment.failure.evidence))
        self._show_facts({} if deployment is None else _facts(deployment))
        self._show_uptime()

    def sizeHint(self) -> QSize:
        """A few lines are enough to begin with; the rest is scrolled to."""
        return QSize(700, _USUAL_ROWS * _ROW_PX)

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Four columns of numbers as wide as there is room for; below the smallest the tab scrolls."""
        super().resizeEvent(event)
        width = max(_SMALLEST_VALUE_PX, min(_VALUE_PX, (self.viewport().width() - _LABEL_PX) // 4))
        for column in range(1, self._rows.columnCount()):
            self._table.setColumnWidth(column, width)

    def showEvent(self, event: QShowEvent) -> None:
        self._clock.start()
        super().showEvent(event)

    def hideEvent(self, event: QHideEvent) -> None:
        self._clock.stop()
        super().hideEvent(event)

    def _ask_for_log(self) -> None:
        if self._deployment is not None:
            self.failure_requested.emit(self._deployment.id)

    def _show_facts(self, facts: dict[str, str]) -> None:
        if list(facts) != list(self._values):
            self._lay_out(list(facts))
        for label, value in facts.items():
            if self._values[label].text() != value:
                self._values[label].setText(value)

    def _lay_out(self, labels: list[str]) -> None:
        while (item := self._facts.takeAt(0)) is not None:
            if widget := item.widget():
                widget.deleteLater()
        self._values = {label: _value_label(label) for label in labels}
        for row, (label, value) in enumerate(self._values.items()):
            title = QLabel(label)
            title.setProperty("role", "muted")
            self._facts.addWidget(title, row, 0, Qt.AlignmentFlag.AlignTop)
            self._facts.addWidget(value, row, 1)
        if tr("Command") in self._values:
            self._values[tr("Command")].setFont(mono_font())

    def _show_uptime(self) -> None:
        if self._deployment and tr("Uptime") in self._values:
            self._values[tr("Uptime")].setText(_uptime(self._deployment))


def _facts(deployment: Deployment) -> dict[str, str]:
    """What the table has no line for; a line without a value is left out."""
    plan, failure = deployment.plan, deployment.failure
    engine = [words.engine_word(plan.engine.kind), plan.engine.version or "", str(plan.engine.path or "")]
    facts = {
        tr("Failure"): "" if failure is None else tr(failure.message),
        tr("What to do"): "" if failure is None or failure.advice is None else tr(failure.advice),
        tr("Evidence"): "" if failure is None else "\n".join(failure.evidence),
        tr("Engine"): "  ".join(part for part in engine if part),
        tr("Because"): "\n".join(tr(reason) for reason in plan.reasons),
        tr("Warnings"): "\n".join(tr(warning) for warning in plan.warnings),
        "URL": plan.url,
        "PID": ", ".join(str(pid) for pid in deployment.pids),
        tr("Uptime"): _uptime(deployment),
        tr("Model file"): str(plan.model.path),
        tr("Command"): command_line(plan),
    }
    return {label: value for label, value in facts.items() if value}


def _uptime(deployment: Deployment) -> str:
    if deployment.ready_at_s is None:
        return ""
    return duration((deployment.ended_at_s or time.time()) - deployment.ready_at_s)


def _value_label(name: str) -> QLabel:
    label = QLabel()
    label.setAccessibleName(name)
    label.setTextFormat(Qt.TextFormat.PlainText)
    label.setWordWrap(True)
    label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    return label


def _table(model: DetailsModel) -> QTableView:
    table = QTableView()
    table.setModel(model)
    table.setAccessibleName(tr("Asked, predicted, applied, measured"))
    table.setFrameShape(QFrame.Shape.NoFrame)
    table.setShowGrid(False)
    table.setSelectionMode(QTableView.SelectionMode.NoSelection)
    table.setTabKeyNavigation(False)
    table.setMinimumWidth(_LABEL_PX + 4 * _SMALLEST_VALUE_PX)
    table.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    table.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    table.verticalHeader().hide()
    table.verticalHeader().setDefaultSectionSize(_ROW_PX)
    header = table.horizontalHeader()
    header.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
    header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
    header.setHighlightSections(False)
    return table


def _alignment(column: int) -> Qt.AlignmentFlag:
    side = Qt.AlignmentFlag.AlignRight if column else Qt.AlignmentFlag.AlignLeft
    return side | Qt.AlignmentFlag.AlignVCenter
