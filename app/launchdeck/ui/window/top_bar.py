"""The bar at the top: the name, what the charts show, settings."""

from __future__ import annotations

from PySide6.QtCore import QSignalBlocker, Signal
from PySide6.QtGui import QKeySequence
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QMenu, QPushButton

from launchdeck.ui.kit.i18n import tr
from launchdeck.ui.kit.icons import icon
from launchdeck.ui.kit.segmented import Segmented

DEFAULT_RANGE_S = 300


class TopBar(QFrame):
    range_changed = Signal(object)
    paused_changed = Signal(bool)
    now_requested = Signal()
    csv_requested = Signal()
    png_requested = Signal()
    settings_requested = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.setProperty("role", "bar")
        name = QLabel("Launchdeck")
        name.setProperty("role", "title")
        self._replay = QLabel(tr("REPLAY"))
        self._replay.setProperty("role", "badge")
        self._replay.setToolTip(tr("These GPUs were recorded on another machine; nothing can be started on them."))
        self._replay.hide()
        self.range = Segmented(
            [
                (60, tr("1 min")),
                (300, tr("5 min")),
                (3600, tr("1 h")),
                (6 * 3600, tr("6 h")),
                (24 * 3600, tr("24 h")),
            ],
            tr("Time range of the charts"),
        )
        self.range.set_value(DEFAULT_RANGE_S)
        self.range.changed.connect(self.range_changed)
        self._now = self._now_button()
        self._pause = self._pause_button()
        layout = QHBoxLayout(self)
        layout.setContentsMargins(16, 6, 12, 6)
        layout.addWidget(name)
        layout.addWidget(self._replay)
        layout.addStretch(1)
        layout.addWidget(self._now)
        layout.addWidget(self.range)
        layout.addWidget(self._pause)
        layout.addWidget(self._save_button())
        layout.addWidget(self._settings_button())

    def show_replay(self) -> None:
        """Say, for good, that what is shown was recorded elsewhere."""
        self._replay.show()

    def show_view(self, range_s: float, following: bool) -> None:  # noqa: FBT001 (a signal's argument)
        """What the charts show: the last `range_s` seconds, or a stretch of time that stands still."""
        self.range.set_value(range_s)
        self._now.setVisible(not following)
        with QSignalBlocker(self._pause):
            self._pause.setChecked(not following)
        self._pause.setIcon(icon("pause" if following else "play"))

    def _now_button(self) -> QPushButton:
        """There only while the charts do not follow the readings."""
        button = QPushButton(tr("Back to now"))
        button.setAccessibleName(tr("Back to now"))
        button.setToolTip(tr("The charts stand still; follow the readings again (Ctrl+End)"))
        button.setShortcut(QKeySequence("Ctrl+End"))
        button.clicked.connect(self.now_requested)
        button.hide()
        return button

    def _save_button(self) -> QPushButton:
        button = QPushButton(icon("save"), "")
        button.setAccessibleName(tr("Export charts"))
        button.setToolTip(tr("Export charts"))
        button.setShortcut(QKeySequence("Ctrl+E"))
        menu = QMenu(button)
        menu.addAction(tr("Save as CSV …"), self.csv_requested.emit)
        menu.addAction(tr("Save as PNG …"), self.png_requested.emit)
        button.setMenu(menu)
        return button

    def _pause_button(self) -> QPushButton:
        button = QPushButton(icon("pause"), "")
        button.setCheckable(True)
        button.setAccessibleName(tr("Pause the charts"))
        button.setToolTip(tr("Pause the charts"))
        button.setShortcut(QKeySequence("Ctrl+P"))
        button.toggled.connect(self.paused_changed)
        return button

    def _settings_button(self) -> QPushButton:
        button = QPushButton(icon("settings"), "")
        button.setAccessibleName(tr("Settings"))
        button.setToolTip(tr("Settings"))
        button.setShortcut(QKeySequence("Ctrl+,"))
        button.clicked.connect(self.settings_requested)
        return button
