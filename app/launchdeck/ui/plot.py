"""The curves of one chart. Only here pyqtgraph is imported, which takes longer than all of Qt: import this late."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import QPointF, QRectF, Qt, Signal
from PySide6.QtGui import QColor, QPainter, QPen
from PySide6.QtWidgets import QWidget

from launchdeck.ui import fonts, theme

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from PySide6.QtCore import QEvent
    from PySide6.QtGui import QMouseEvent, QWheelEvent

    from launchdeck.ui.chart_panel import Marker

_LABEL_GAP_PX = 5


@dataclass(slots=True)
class _Curve:
    item: pg.PlotCurveItem
    color: str
    offsets_s: NDArray[np.float64]
    values: NDArray[np.float32]


class Plot(pg.GraphicsView):
    """Curves over the last `range_s` seconds (x: seconds before now, negative), markers, a crosshair.

    Items are made once for a device and then only given new data. Pens are one pixel wide: antialiased lines that
    are wider take Qt's rasteriser up to a thousand times as long. `hovered` carries the time under the mouse as a
    share of the range from the left, None when the mouse has gone.
    """

    hovered = Signal(object)

    def __init__(self, margin: float, parent: QWidget | None = None) -> None:
        """`margin` is the share of the value axis that is left free below and above."""
        super().__init__(parent, background=None, useOpenGL=False)
        self._margin = margin
        self._range_s = 1.0
        self._curves: dict[str, _Curve] = {}
        self._markers: list[tuple[float, Marker]] = []
        self._crosshair: float | None = None
        self._box = pg.ViewBox(enableMouse=False, enableMenu=False)
        self.setCentralItem(self._box)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setViewportUpdateMode(pg.GraphicsView.ViewportUpdateMode.FullViewportUpdate)
        self.setMouseTracking(True)
        # The hairlines lie below: neither the viewport's own background nor a cached one may cover them.
        self.viewport().setAutoFillBackground(False)
        self.setCacheMode(pg.GraphicsView.CacheModeFlag.CacheNone)

    def set_axes(self, range_s: float, top: float) -> None:
        self._range_s = range_s
        self._box.setRange(xRange=(-range_s, 0), yRange=(-self._margin * top, (1 + self._margin) * top), padding=0)

    def set_curve(self, uuid: str, color: str, offsets_s: NDArray[np.float64], values: NDArray[np.float32]) -> None:
        """Draw these values; NaN is a gap."""
        curve = self._curves.get(uuid)
        if curve is None:
            item = pg.PlotCurveItem(antialias=True, connect="finite", skipFiniteCheck=False)
            curve = self._curves[uuid] = _Curve(item, "", offsets_s, values)
            self._box.addItem(item, ignoreBounds=True)
        if curve.color != color:
            curve.color = color
            curve.item.setPen(pg.mkPen(color, width=1))
        curve.offsets_s, curve.values = offsets_s, values
        if np.isfinite(values).any():
            curve.item.setData(offsets_s, values)
        else:
            curve.item.clear()

    def keep_curves(self, uuids: set[str]) -> None:
        """Remove the curves of all other devices."""
        for uuid in self._curves.keys() - uuids:
            self._box.removeItem(self._curves.pop(uuid).item)

    def set_curve_visible(self, uuid: str, visible: bool) -> None:  # noqa: FBT001
        if uuid in self._curves:
            self._curves[uuid].item.setVisible(visible)

    def set_markers(self, markers: Sequence[tuple[float, Marker]]) -> None:
        """Markers, each with its place as a share of the range from the left."""
        self._markers = sorted(markers, key=lambda placed: placed[0])
        self.viewport().update()

    def set_crosshair(self, place: float | None) -> None:
        """A vertical line at this share of the range, or none."""
        self._crosshair = place
        self.viewport().update()

    def value_at(self, uuid: str, place: float) -> float | None:
        """The value drawn nearest to this share of the range, None in a gap."""
        curve = self._curves.get(uuid)
        if curve is None or not len(curve.offsets_s):
            return None
        nearest = int(np.abs(curve.offsets_s - (place - 1) * self._range_s).argmin())
        value = float(curve.values[nearest])
        return None if np.isnan(value) else value

    def drawForeground(self, painter: QPainter, _rect: QRectF) -> None:
        painter.save()
        painter.resetTransform()
        self._paint_markers(painter)
        if self._crosshair is not None:
            painter.setPen(QPen(QColor(theme.tokens().muted), 1))
            self._paint_line(painter, self._crosshair)
        painter.restore()

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        self.hovered.emit(min(max(event.position().x() / max(self.width(), 1), 0.0), 1.0))

    def leaveEvent(self, event: QEvent) -> None:
        super().leaveEvent(event)
        self.hovered.emit(None)

    def wheelEvent(self, event: QWheelEvent) -> None:
        event.ignore()

    def _paint_markers(self, painter: QPainter) -> None:
        """A label is left out where the next one needs its room."""
        tokens = theme.tokens()
        colors = {"started": tokens.accent, "ready": tokens.ok, "failed": tokens.bad}
        painter.setFont(fonts.small_font())
        ends = [*(place * self.width() for place, _ in self._markers[1:]), float(self.width())]
        for (place, marker), end in zip(self._markers, ends, strict=False):  # without markers there is one end
            painter.setPen(QPen(QColor(colors[marker.kind]), 1, Qt.PenStyle.DashLine))
            self._paint_line(painter, place)
            left = place * self.width() + _LABEL_GAP_PX
            if left + fonts.small_width_px(marker.text) <= end:
                painter.drawText(QPointF(left, painter.fontMetrics().ascent()), marker.text)

    def _paint_line(self, painter: QPainter, place: float) -> None:
        x = round(place * (self.width() - 1)) + 0.5
        painter.drawLine(QPointF(x, 0), QPointF(x, self.height()))
