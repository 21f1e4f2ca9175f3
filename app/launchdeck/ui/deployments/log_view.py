"""The tab with a deployment's log: live, bounded, searchable, by level, and with a way to what went wrong."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from PySide6.QtCore import Qt, QTimer
from PySide6.QtGui import QGuiApplication, QHideEvent, QKeySequence, QResizeEvent, QShortcut, QShowEvent
from PySide6.QtWidgets import (
    QBoxLayout,
    QCheckBox,
    QComboBox,
    QFileDialog,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPlainTextEdit,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from launchdeck.ui.deployments.log_levels import LogLevel, level_of
from launchdeck.ui.deployments.log_text import Found, LogText
from launchdeck.ui.kit.i18n import tr
from launchdeck.ui.kit.keys import give_key
from launchdeck.ui.kit.wheel_guard import WheelGuard

if TYPE_CHECKING:
    from collections.abc import Sequence

logger = logging.getLogger(__name__)

_POLL_MS = 100
_ONE_LINE_PX = 640


class LineSource(Protocol):
    """The face of `serving.logs.LogBuffer` that is needed here."""

    @property
    def partial(self) -> str:
        """The last line as far as it was written."""
        ...

    def lines_since(self, sequence: int) -> tuple[int, list[str]]:
        """The lines after this sequence number that are still kept, and the number to ask with next time."""
        ...


class LogTab(QWidget):
    """Asks its source ten times a second, and only while somebody looks: lines come in batches, never one by one."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._source: LineSource | None = None
        self._sequence = 0
        self._name = ""
        self._failure: Sequence[str] = ()  # the lines to show, once they are there
        self._text = LogText()
        self._bar = QBoxLayout(QBoxLayout.Direction.LeftToRight)
        self._search = QLineEdit(placeholderText=tr("Search"), clearButtonEnabled=True)
        self._search.setAccessibleName(tr("Search the log"))
        self._search.textEdited.connect(lambda _: self._find_again())
        self._search.returnPressed.connect(self.find_next)
        self._found = QLabel()
        self._found.setProperty("role", "muted")
        self._follow = QCheckBox(tr("Follow"), checked=True)
        self._follow.toggled.connect(self._follow_toggled)
        self._wrap = QCheckBox(tr("Wrap"))
        self._wrap.toggled.connect(self._set_wrap)
        self._level = _level_combo()
        self._level.currentIndexChanged.connect(lambda _: self._show_again())
        self._error = _flat_button(tr("Next error"), self.find_error)
        self._copy = _flat_button(tr("Copy"), self.copy_all)
        self._save = _flat_button(tr("Save …"), self._choose_file)
        keys = {"F": self._follow, "W": self._wrap, "J": self._error, "C": self._copy, "S": self._save}
        for key, widget in keys.items():
            give_key(widget, f"Alt+{key}")
        self._lay_out()
        find = QShortcut(QKeySequence.StandardKey.Find, self, self._search.setFocus)
        find.setContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
        backwards = QShortcut(QKeySequence(Qt.Modifier.SHIFT | Qt.Key.Key_Return), self._search, self.find_previous)
        backwards.setContext(Qt.ShortcutContext.WidgetShortcut)
        self._poll = QTimer(self, interval=_POLL_MS)
        self._poll.timeout.connect(self._fetch)
        self._text.verticalScrollBar().actionTriggered.connect(lambda _: self._scrolled())

    def follow(self, source: LineSource | None, name: str = "") -> None:
        """Show this log from its first kept line on. `name` is proposed for the saved file."""
        if source is self._source:
            return
        self._source, self._name, self._failure = source, name, ()
        self._show_again()

    def _show_again(self) -> None:
        """From the first line on that is kept."""
        self._sequence = 0
        self._text.start_anew()
        if self.isVisible():
            self._fetch()

    def find_next(self) -> None:
        self._tell(self._text.search(self._search.text()))

    def find_previous(self) -> None:
        self._tell(self._text.search(self._search.text(), backwards=True))

    def find_error(self) -> None:
        """Show the next line that speaks of an error, from the cursor on and once around the end."""
        self._follow.setChecked(False)
        self._found.setText("" if self._text.show_next_error() else tr("Not found"))

    def show_failure(self, evidence: Sequence[str]) -> None:
        """Show where the log tells of a failure: its first line of an error, else its last line."""
        self._failure = evidence
        self._level.setCurrentIndex(self._level.findData(LogLevel.INFO))
        if self.isVisible():
            self._fetch()

    def _show_failure(self) -> None:
        errors = [line for line in self._failure if level_of(line) is LogLevel.ERROR]
        self._follow.setChecked(False)
        found = self._text.show_line(errors[0] if errors else self._failure[-1])
        self._found.setText("" if found else tr("Not found"))
        self._failure = ()

    def copy_all(self) -> None:
        """The selection, or all there is where nothing is selected."""
        selected = self._text.textCursor().selection().toPlainText()
        QGuiApplication.clipboard().setText(selected or self._text.toPlainText())

    def save_to(self, path: Path) -> None:
        """Write what is shown; a failure is said in the tab."""
        try:
            path.write_text(self._text.toPlainText() + "\n", encoding="utf-8")
        except OSError as error:
            logger.warning("The log could not be written to %s: %s", path, error)
            self._found.setText(tr("Not saved: {reason}", reason=error.strerror or error))
        else:
            self._found.setText(tr("Saved"))

    def message(self) -> str:
        """What the tab last said about searching or saving."""
        return self._found.text()

    def showEvent(self, event: QShowEvent) -> None:
        self._fetch()
        self._poll.start()
        super().showEvent(event)

    def hideEvent(self, event: QHideEvent) -> None:
        self._poll.stop()
        super().hideEvent(event)

    def _fetch(self) -> None:
        if self._source is None:
            return
        self._sequence, lines = self._source.lines_since(self._sequence)
        least: LogLevel = self._level.currentData()
        if least is LogLevel.INFO:
            self._text.add(lines, self._source.partial)
        else:
            self._text.add([line for line in lines if level_of(line) >= least])
        if self._failure and self._text.is_filled():
            self._show_failure()

    def _follow_toggled(self, following: bool) -> None:  # noqa: FBT001 (a Qt slot)
        self._text.follows = following
        if following:
            bar = self._text.verticalScrollBar()
            bar.setValue(bar.maximum())

    def _scrolled(self) -> None:
        """Whoever scrolls up wants to read there; back at the end, the log is followed again."""
        bar = self._text.verticalScrollBar()
        self._follow.setChecked(bar.sliderPosition() >= bar.maximum())

    def _set_wrap(self, wrap: bool) -> None:  # noqa: FBT001 (a Qt slot)
        mode = QPlainTextEdit.LineWrapMode
        self._text.setLineWrapMode(mode.WidgetWidth if wrap else mode.NoWrap)

    def _find_again(self) -> None:
        """What is typed is looked for from the match on that was found so far."""
        self._tell(self._text.search_from_match(self._search.text()))

    def _tell(self, found: Found | None) -> None:
        if not self._search.text():
            self._found.clear()
            return
        self._follow.setChecked(False)
        self._found.setText(
            tr("Not found") if found is None else tr("{place} of {total}", place=found.place, total=found.total)
        )

    def _choose_file(self) -> None:
        path, _ = QFileDialog.getSaveFileName(self, tr("Save the log"), f"{self._name or 'model'}.log")
        if path:
            self.save_to(Path(path))

    def _lay_out(self) -> None:
        finding, tools = QHBoxLayout(), QHBoxLayout()
        finding.addWidget(self._search, 1)
        finding.addWidget(self._found)
        finding.addWidget(self._error)
        for widget in (self._level, self._follow, self._wrap, self._copy, self._save):
            tools.addWidget(widget)
        for layout in (self._bar, finding, tools):
            layout.setSpacing(8)
        self._bar.addLayout(finding, 1)
        self._bar.addLayout(tools)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 8, 0, 0)
        column.setSpacing(8)
        column.addLayout(self._bar)
        column.addWidget(self._text, 1)

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Two lines of tools where one would cut their names."""
        super().resizeEvent(event)
        is_narrow = event.size().width() < _ONE_LINE_PX
        self._bar.setDirection(QBoxLayout.Direction.TopToBottom if is_narrow else QBoxLayout.Direction.LeftToRight)


def _level_combo() -> QComboBox:
    combo = QComboBox()
    combo.setAccessibleName(tr("Lines shown"))
    combo.addItem(tr("All lines"), LogLevel.INFO)
    combo.addItem(tr("Warnings and errors"), LogLevel.WARNING)
    combo.addItem(tr("Errors"), LogLevel.ERROR)
    WheelGuard(combo).watch(combo)
    return combo


def _flat_button(text: str, clicked: object) -> QPushButton:
    button = QPushButton(text)
    button.setProperty("kind", "flat")
    button.clicked.connect(clicked)
    return button
