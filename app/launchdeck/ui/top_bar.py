"""The bar at the top: the name, the time range of the charts, pause, settings."""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtGui import QKeySequence
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QPushButton

from launchdeck.ui.i18n import tr
from launchdeck.ui.icons import icon
from launchdeck.ui.segmented import Segmented

DEFAULT_RANGE_S = 300


class TopBar(QFrame):
    range_changed = Signal(object)
    paused_changed = Signal(bool)
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
        layout = QHBoxLayout(self)
        layout.setContentsMargins(16, 6, 12, 6)
        layout.addWidget(name)
        layout.addWidget(self._replay)
        layout.addStretch(1)
        layout.addWidget(self.range)
        layout.addWidget(self._pause_button())
        layout.addWidget(self._settings_button())

    def show_replay(self) -> None:
        """Say, for good, that what is shown was recorded elsewhere."""
        self._replay.show()

    def _pause_button(self) -> QPushButton:
        button = QPushButton(icon("pause"), "")
        button.setCheckable(True)
        button.setAccessibleName(tr("Pause the charts"))
        button.setToolTip(tr("Pause the charts"))
        button.setShortcut(QKeySequence("Ctrl+P"))
        button.toggled.connect(lambda paused: button.setIcon(icon("play" if paused else "pause")))
        button.toggled.connect(self.paused_changed)
        return button

    def _settings_button(self) -> QPushButton:
        button = QPushButton(icon("settings"), "")
        button.setAccessibleName(tr("Settings"))
        button.setToolTip(tr("Settings"))
        button.setShortcut(QKeySequence("Ctrl+,"))
        button.clicked.connect(self.settings_requested)
        return button
