"""One chart with its frame, title, legend and axes."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from PySide6.QtCore import QRect, QRectF, Qt
from PySide6.QtGui import QColor, QPainter
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QSizePolicy, QVBoxLayout, QWidget

from launchdeck.ui.charts.chart_legend import Legend
from launchdeck.ui.charts.plot import Plot
from launchdeck.ui.charts.time_axis import Mark, clock_marks, time_marks, value_marks
from launchdeck.ui.kit import fonts, theme

if TYPE_CHECKING:
    from PySide6.QtGui import QPaintEvent, QResizeEvent

    from launchdeck.ui.charts.time_view import TimeView

_GUTTER_PX = 30
_STRIP_PX = 20
_HEAD_PX = 7
_LABEL_GAP_PX = 6
_LOWEST_PX = 58
_TIGHT_PX = 84


class ChartPanel(QFrame):
    """`usual_value` keeps its room in the legend; `axis_below`: a panel under this one has the same times."""

    def __init__(
        self,
        title: str,
        unit: str,
        top: float,
        usual_value: str,
        *,
        axis_below: bool = False,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self.setProperty("role", "panel")
        self.unit = unit
        self.plot = Plot(top)
        self.axes = ChartAxes(self.plot, axis_below=axis_below)
        self.legend = Legend(unit, usual_value)
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
        self.plot.setAccessibleName(title)


class ChartAxes(QWidget):
    """Labels around the area that holds the curves. In a low window one axis of times does for both charts."""

    def __init__(self, plot: Plot, *, axis_below: bool = False, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._plot = plot
        self._axis_below = axis_below
        plot.setParent(self)
        self._marks = time_marks(300.0)
        self._crosshair: Mark | None = None
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setMinimumHeight(_LOWEST_PX)

    def set_axes(self, view: TimeView, top: float) -> None:
        """Name these times and values."""
        is_round = view.following and view.range_s == round(view.range_s)
        marks = time_marks(view.range_s) if is_round else clock_marks(view.since_s, view.until_s)
        if (marks, top) != (self._marks, self._plot.top):
            self._marks = marks
            self.update()
        self._plot.set_axes(view.range_s, top)

    def set_crosshair(self, place: float | None, time_s: float) -> None:
        """Name the time (Unix) at this share of the range; None: no more."""
        self._crosshair = None if place is None else Mark(place, time.strftime("%X", time.localtime(time_s)))
        self.update(0, self.height() - _STRIP_PX, self.width(), _STRIP_PX)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._plot.setGeometry(self._area())

    def paintEvent(self, _event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setFont(fonts.small_font())
        painter.setPen(QColor(theme.tokens().muted))
        for mark in value_marks(self._plot.top):
            y = self._plot.y() + self._plot.y_px(mark.place)
            beside = QRect(0, y - 10, _GUTTER_PX - _LABEL_GAP_PX, 20)
            painter.drawText(beside, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter, mark.text)
        if self._shows_times():
            self._paint_times(painter)

    def _paint_times(self, painter: QPainter) -> None:
        crosshair = QRectF() if self._crosshair is None else self._time_label(self._crosshair)
        for mark in self._marks:
            label = self._time_label(mark)
            if not label.intersects(crosshair.adjusted(-_LABEL_GAP_PX, 0, _LABEL_GAP_PX, 0)):
                painter.drawText(label, Qt.AlignmentFlag.AlignCenter, mark.text)
        if self._crosshair is not None:
            painter.setPen(QColor(theme.tokens().text))
            painter.drawText(crosshair, Qt.AlignmentFlag.AlignCenter, self._crosshair.text)

    def _time_label(self, mark: Mark) -> QRectF:
        """Centred under its place, but not beyond the edges."""
        area = self._area()
        width = fonts.small_width_px(mark.text) + 2
        left = area.left() + mark.place * area.width() - width / 2
        left = min(max(left, area.left()), area.right() + 1 - width)
        return QRectF(left, self.height() - _STRIP_PX, width, _STRIP_PX)

    def _shows_times(self) -> bool:
        return not self._axis_below or self.height() >= _TIGHT_PX

    def _area(self) -> QRect:
        height = self.height() - _HEAD_PX - (_STRIP_PX if self._shows_times() else _HEAD_PX)
        return QRect(_GUTTER_PX, _HEAD_PX, max(self.width() - _GUTTER_PX, 1), max(height, 1))
