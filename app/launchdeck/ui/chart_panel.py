"""One chart with its frame, title, legend and axes. The curves inside come later (see `plot`)."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from PySide6.QtCore import QRect, QRectF, Qt
from PySide6.QtGui import QColor, QPainter
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QSizePolicy, QVBoxLayout, QWidget

from launchdeck.ui import fonts, theme
from launchdeck.ui.chart_legend import Legend
from launchdeck.ui.time_axis import Mark, time_marks, value_marks

if TYPE_CHECKING:
    from PySide6.QtGui import QPaintEvent, QResizeEvent

    from launchdeck.ui.plot import Plot

MARGIN = 0.02
_GUTTER_PX = 30
_STRIP_PX = 20
_HEAD_PX = 7
_GRID_LINES = 4
_LABEL_GAP_PX = 6


@dataclass(frozen=True, slots=True)
class Marker:
    """Something that happened at `time_s` (Unix). `kind` is "started", "ready" or "failed"."""

    time_s: float
    text: str
    kind: str


class ChartPanel(QFrame):
    """A panel as it is before and after `set_plot`: only the curves come then."""

    def __init__(self, title: str, unit: str, top: float, usual_value: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setProperty("role", "panel")
        self.axes = ChartAxes(top)
        self.legend = Legend(unit, usual_value)
        self.plot: Plot | None = None
        self._title = QLabel()
        self._title.setProperty("role", "title")
        unit_label = QLabel(unit)
        unit_label.setProperty("role", "muted")
        header = QHBoxLayout()
        header.setSpacing(10)
        header.addWidget(self._title)
        header.addWidget(unit_label)
        header.addWidget(self.legend, 1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(13, 9, 13, 6)
        layout.setSpacing(0)
        layout.addLayout(header)
        layout.addWidget(self.axes, 1)
        self.set_title(title)

    @property
    def title(self) -> str:
        return self._title.text()

    def set_title(self, title: str) -> None:
        self._title.setText(title)
        self.setAccessibleName(title)

    def set_plot(self, plot: Plot) -> None:
        """Put the curves into the frame."""
        self.plot = plot
        self.axes.set_content(plot)


class ChartAxes(QWidget):
    """Hairlines and labels around an area that holds the curves."""

    def __init__(self, top: float, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._content: QWidget | None = None
        self._range_s = 300.0
        self._top = top
        self._crosshair: tuple[float, float] | None = None
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setMinimumHeight(70)

    @property
    def top(self) -> float:
        """The largest value that is drawn."""
        return self._top

    def set_axes(self, range_s: float, top: float) -> None:
        if (range_s, top) != (self._range_s, self._top):
            self._range_s, self._top = range_s, top
            self.update()

    def set_crosshair(self, place: float | None, time_s: float) -> None:
        """Name the time (Unix) at this share of the range; None: no more."""
        self._crosshair = None if place is None else (place, time_s)
        self.update(0, self.height() - _STRIP_PX, self.width(), _STRIP_PX)

    def set_content(self, content: QWidget) -> None:
        self._content = content
        content.setParent(self)
        content.setGeometry(self._area())
        content.show()

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        if self._content is not None:
            self._content.setGeometry(self._area())

    def paintEvent(self, _event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setFont(fonts.small_font())
        area = self._area()
        painter.setPen(QColor(theme.tokens().track))
        for line in range(_GRID_LINES + 1):
            y = self._y(line / _GRID_LINES)
            painter.drawLine(area.left(), y, area.right(), y)
        painter.setPen(QColor(theme.tokens().muted))
        for mark in value_marks(self._top):
            label = QRect(0, self._y(mark.place) - 10, _GUTTER_PX - _LABEL_GAP_PX, 20)
            painter.drawText(label, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter, mark.text)
        self._paint_times(painter, time_marks(self._range_s))

    def _paint_times(self, painter: QPainter, marks: tuple[Mark, ...]) -> None:
        """Centred under their places, except for the two at the edges; the crosshair's time covers them."""
        for mark in marks:
            painter.drawText(self._time_label(mark), Qt.AlignmentFlag.AlignCenter, mark.text)
        if self._crosshair is not None:
            place, time_s = self._crosshair
            mark = Mark(place, time.strftime("%X", time.localtime(time_s)))
            label = self._time_label(mark)
            painter.fillRect(label.adjusted(-_LABEL_GAP_PX, 0, _LABEL_GAP_PX, 0), QColor(theme.tokens().panel))
            painter.setPen(QColor(theme.tokens().text))
            painter.drawText(label, Qt.AlignmentFlag.AlignCenter, mark.text)

    def _time_label(self, mark: Mark) -> QRectF:
        area = self._area()
        width = fonts.small_width_px(mark.text) + 2
        left = area.left() + mark.place * area.width() - width / 2
        left = min(max(left, area.left()), area.right() + 1 - width)
        return QRectF(left, self.height() - _STRIP_PX, width, _STRIP_PX)

    def _area(self) -> QRect:
        height = self.height() - _STRIP_PX - _HEAD_PX
        return QRect(_GUTTER_PX, _HEAD_PX, max(self.width() - _GUTTER_PX, 1), max(height, 1))

    def _y(self, share: float) -> int:
        """The pixel row of a share of the value axis; as the plot has it, margins included."""
        area = self._area()
        return round(area.top() + area.height() * (1 + MARGIN - share) / (1 + 2 * MARGIN))
