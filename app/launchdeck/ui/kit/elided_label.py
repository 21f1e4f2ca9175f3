"""A label that gives way: what does not fit is cut with an ellipsis and told by the tooltip."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QSize, Qt
from PySide6.QtGui import QPainter
from PySide6.QtWidgets import QLabel, QStyleOption

if TYPE_CHECKING:
    from PySide6.QtGui import QPaintEvent, QResizeEvent

_MINIMUM_PX = 24


class ElidedLabel(QLabel):
    def minimumSizeHint(self) -> QSize:
        return QSize(_MINIMUM_PX, super().minimumSizeHint().height())

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self.setToolTip(self.text() if self._shown_text() != self.text() else "")

    def paintEvent(self, _event: QPaintEvent) -> None:
        option = QStyleOption()
        option.initFrom(self)
        painter = QPainter(self)
        self.style().drawItemText(
            painter,
            self.rect(),
            int(self.alignment()),
            option.palette,
            self.isEnabled(),
            self._shown_text(),
            self.foregroundRole(),
        )

    def _shown_text(self) -> str:
        return self.fontMetrics().elidedText(self.text(), Qt.TextElideMode.ElideRight, self.width())
