"""The load of each core of the CPU: a row of upright bars."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from PySide6.QtCore import QRectF, QSize, Qt
from PySide6.QtGui import QColor, QPainter
from PySide6.QtWidgets import QSizePolicy, QWidget

from launchdeck.ui.kit import format as number
from launchdeck.ui.kit import theme
from launchdeck.ui.kit.i18n import tr

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PySide6.QtGui import QPaintEvent

_ROW_PX = 26
_BETWEEN_ROWS_PX = 4
_NARROWEST_PX = 3.0
_WIDEST_PX = 12.0


class GpuCores(QWidget):
    """In as many rows as bars of a visible width need; the tooltip and the accessible description name the busiest."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._percents: tuple[int, ...] = ()
        policy = QSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        policy.setHeightForWidth(True)
        self.setSizePolicy(policy)
        self.setAccessibleName(tr("Load per core"))

    @property
    def percents(self) -> tuple[int, ...]:
        """What is shown, core by core."""
        return self._percents

    def show_percents(self, percents: Sequence[int]) -> None:
        if len(percents) != len(self._percents):
            self.updateGeometry()
        self._percents = tuple(percents)
        busiest = number.percent(max(percents, default=None))
        text = tr("{count} cores, the busiest {percent}", count=len(percents), percent=busiest)
        self.setToolTip(text)
        self.setAccessibleDescription(text)
        self.update()

    def heightForWidth(self, width: int) -> int:
        rows = self._row_count(width)
        return rows * _ROW_PX + (rows - 1) * _BETWEEN_ROWS_PX

    def sizeHint(self) -> QSize:
        return QSize(120, self.heightForWidth(self.width()))

    def minimumSizeHint(self) -> QSize:
        return QSize(40, self.heightForWidth(self.width()))

    def paintEvent(self, _event: QPaintEvent) -> None:
        if not self._percents:
            return
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        per_row = math.ceil(len(self._percents) / self._row_count(self.width()))
        step = min(self.width() / per_row, _WIDEST_PX)
        track, bar = QColor(theme.tokens().track), QColor(theme.tokens().accent)
        for core, percent in enumerate(self._percents):
            row, column = divmod(core, per_row)
            area = QRectF(column * step, row * (_ROW_PX + _BETWEEN_ROWS_PX), step - max(step / 6, 0.5), _ROW_PX)
            painter.fillRect(area, track)
            area.setTop(area.bottom() - _ROW_PX * percent / 100)
            painter.fillRect(area, bar)

    def _row_count(self, width: int) -> int:
        return max(1, math.ceil(len(self._percents) * _NARROWEST_PX / max(width, 1)))
