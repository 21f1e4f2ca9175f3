"""A part of a form that opens and closes under its title."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from launchdeck.ui.kit.i18n import tr


class Disclosure(QWidget):
    """A title with a triangle; `body` is hidden while it is closed. `aside` stands at the right of the title."""

    def __init__(self, title: str, body: QWidget, *, opened: bool, aside: QWidget | None = None) -> None:
        super().__init__()
        self._title = title
        self._body = body
        self._opened = opened
        self._button = QPushButton(clicked=lambda: self._show(not self._opened))
        self._button.setProperty("kind", "flat")
        self._button.setAccessibleName(title)
        self._button.setCursor(Qt.CursorShape.PointingHandCursor)
        head = QHBoxLayout()
        head.addWidget(self._button)
        head.addStretch(1)
        if aside:
            head.addWidget(aside)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(2)
        column.addLayout(head)
        column.addWidget(body)
        self._show(opened)

    def _show(self, opened: bool) -> None:  # noqa: FBT001 (what it says)
        self._opened = opened
        self._button.setText(f"{'▼' if opened else '▶'} {self._title}")
        self._button.setAccessibleDescription(tr("open") if opened else tr("closed"))
        self._body.setVisible(opened)
