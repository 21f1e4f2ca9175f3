"""One chart's hairlines, markers and crosshair, and the mouse that moves through time. Its curves lie in a layer."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from PySide6.QtCore import QPointF, QRectF, Qt, Signal
from PySide6.QtGui import QColor, QPainter, QPen
from PySide6.QtWidgets import QWidget

from launchdeck.ui.charts.marker_labels import place_labels
from launchdeck.ui.kit import fonts, theme

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray
    from PySide6.QtCore import QEvent
    from PySide6.QtGui import QMouseEvent, QPaintEvent, QResizeEvent, QWheelEvent

    from launchdeck.ui.charts.curves import Curves

_MARGIN = 0.02
_GRID_LINES = 4
_MOST_LABEL_ROWS = 4
_LABEL_WIDEST = 0.4
_NOTCH = 120  # Qt's unit for one step of a wheel
_ZOOM_PER_NOTCH = 0.8
_PAN_PER_NOTCH = 0.1
_NEAR = 0.01


@dataclass(frozen=True, slots=True)
class Marker:
    """Something that happened at `time_s` (Unix). `kind` is "started", "ready" or "failed"."""

    time_s: float
    text: str
    kind: str


@dataclass(slots=True)
class _Curve:
    """What is drawn, to be read off again."""

    offsets_s: NDArray[np.float64]
    values: NDArray[np.float32]


class Plot(QWidget):
    """Curves over `range_s` seconds (x: seconds before the right edge, negative).

    The curves can be set once `build` has made their layer. Signals, in shares of the range: `hovered` the place
    under the mouse, None when the mouse has gone; `panned` how much later to look; `zoomed` a factor for the range
    and the place that stays. The keys are left to the parent.
    """

    hovered = Signal(object)
    panned = Signal(float)
    zoomed = Signal(float, float)

    def __init__(self, top: float, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._range_s = 1.0
        self._top = top
        self._curves: dict[str, _Curve] = {}
        self._layer: Curves | None = None
        self._markers: list[tuple[float, Marker]] = []
        self._crosshair: float | None = None
        self._note = ""
        self._dragged_from_px: float | None = None
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.setMouseTracking(True)
        self.setAttribute(Qt.WidgetAttribute.WA_OpaquePaintEvent)  # what lies below is not painted again

    @property
    def top(self) -> float:
        """The largest value that is drawn."""
        return self._top

    def build(self) -> None:
        """Make the layer of the curves; imports pyqtgraph, so only after the first paint."""
        from launchdeck.ui.charts.curves import Curves  # noqa: PLC0415

        self._layer = Curves(self)
        self._layer.setGeometry(self.rect())
        self._layer.show()
        self._fit_layer(self._layer)

    def set_axes(self, range_s: float, top: float) -> None:
        """Another range of time and of values. Where only the curves change, one repaint of their layer is enough."""
        if (range_s, top) == (self._range_s, self._top):
            return
        self._range_s, self._top = range_s, top
        if self._layer is not None:
            self._fit_layer(self._layer)
        self.update()

    def set_curve(self, uuid: str, color: str, offsets_s: NDArray[np.float64], values: NDArray[np.float32]) -> None:
        """Draw these values; NaN is a gap."""
        if self._layer is not None:
            self._curves[uuid] = _Curve(offsets_s, values)
            self._layer.set_curve(uuid, color, offsets_s, values)

    @property
    def has_curve(self) -> bool:
        """Whether there is a value to be drawn."""
        return any((curve.values >= 0).any() for curve in self._curves.values())  # NaN is not

    @property
    def note(self) -> str:
        return self._note

    def set_note(self, text: str) -> None:
        """Words in the middle, for a chart without a curve."""
        if text != self._note:
            self._note = text
            self.update()

    def keep_curves(self, uuids: set[str]) -> None:
        """Remove the curves of all other devices."""
        if self._layer is not None:
            self._layer.keep(uuids)
        for uuid in self._curves.keys() - uuids:
            del self._curves[uuid]

    def set_curve_visible(self, uuid: str, visible: bool) -> None:  # noqa: FBT001
        if self._layer is not None and uuid in self._curves:
            self._layer.set_visible(uuid, visible)

    def set_markers(self, markers: Sequence[tuple[float, Marker]]) -> None:
        """Markers, each with its place as a share of the range from the left."""
        before, self._markers = self._markers, sorted(markers, key=lambda placed: placed[0])
        if self._markers != before:
            self.update()

    def set_crosshair(self, place: float | None) -> None:
        """A vertical line at this share of the range, or none."""
        self._crosshair = place
        self.update()

    def value_at(self, uuid: str, place: float) -> float | None:
        """The value drawn nearest to this share of the range; None in a gap, and where nothing was measured."""
        curve = self._curves.get(uuid)
        if curve is None or not len(curve.offsets_s):
            return None
        distances = abs(curve.offsets_s - (place - 1) * self._range_s)
        nearest = int(distances.argmin())
        is_outside = nearest in {0, len(distances) - 1} and distances[nearest] > _NEAR * self._range_s
        value = float(curve.values[nearest])
        return None if is_outside or math.isnan(value) else value

    def y_px(self, share: float) -> int:
        """The pixel row of a share of the value axis."""
        return round(self.height() * (1 + _MARGIN - share) / (1 + 2 * _MARGIN))

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        if self._layer is not None:
            self._layer.setGeometry(self.rect())

    def paintEvent(self, _event: QPaintEvent) -> None:
        tokens = theme.tokens()
        painter = QPainter(self)
        painter.fillRect(self.rect(), QColor(tokens.panel))
        painter.setPen(QColor(tokens.track))
        for line in range(_GRID_LINES + 1):
            y = self.y_px(line / _GRID_LINES)
            painter.drawLine(0, y, self.width(), y)
        if self._note:
            painter.setPen(QColor(tokens.muted))
            painter.drawText(self.rect(), Qt.AlignmentFlag.AlignCenter, self._note)
        self._paint_markers(painter)
        if self._crosshair is not None:
            painter.setPen(QColor(tokens.muted))
            self._paint_line(painter, self._crosshair)
        if self.hasFocus():
            painter.setPen(QColor(tokens.accent))
            painter.drawRect(self.rect().adjusted(0, 0, -1, -1))

    def mousePressEvent(self, event: QMouseEvent) -> None:
        if event.button() == Qt.MouseButton.LeftButton:
            self._dragged_from_px = event.position().x()
            self.setCursor(Qt.CursorShape.ClosedHandCursor)

    def mouseReleaseEvent(self, _event: QMouseEvent) -> None:
        self._dragged_from_px = None
        self.unsetCursor()

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        x = event.position().x()
        if self._dragged_from_px is not None and x != self._dragged_from_px:
            self.panned.emit((self._dragged_from_px - x) / self._width_px())
            self._dragged_from_px = x
        self.hovered.emit(self._place(x))

    def leaveEvent(self, event: QEvent) -> None:
        super().leaveEvent(event)
        self.hovered.emit(None)

    def wheelEvent(self, event: QWheelEvent) -> None:
        """The wheel zooms about the pointer; sideways, as touchpads do, it pans."""
        turned = event.angleDelta()
        if turned.y():
            self.zoomed.emit(_ZOOM_PER_NOTCH ** (turned.y() / _NOTCH), self._place(event.position().x()))
        elif turned.x():
            self.panned.emit(-_PAN_PER_NOTCH * turned.x() / _NOTCH)
        event.accept()

    def _fit_layer(self, layer: Curves) -> None:
        layer.set_area(self._range_s, -_MARGIN * self._top, (1 + _MARGIN) * self._top)

    def _paint_markers(self, painter: QPainter) -> None:
        if not self._markers:
            return
        tokens = theme.tokens()
        colors = {"started": tokens.accent, "ready": tokens.ok, "failed": tokens.bad}
        painter.setFont(fonts.small_font())
        for place, marker in self._markers:
            painter.setPen(QPen(QColor(colors[marker.kind]), 1, Qt.PenStyle.DashLine))
            self._paint_line(painter, place)
        behind = QColor(tokens.panel)
        behind.setAlphaF(0.8)
        for marker, text, area in self._labels():
            painter.fillRect(area, behind)
            painter.setPen(QColor(colors[marker.kind]))
            painter.drawText(area, Qt.AlignmentFlag.AlignVCenter, text)

    def _labels(self) -> list[tuple[Marker, str, QRectF]]:
        """What is written beside the markers' lines, and where."""
        widest_px = max(_LABEL_WIDEST * self.width(), 1)
        texts = [fonts.small_elided(marker.text, round(widest_px)) for _, marker in self._markers]
        widths_px = [fonts.small_width_px(text) for text in texts]
        line_px = fonts.small_height_px()
        rows = min(self.height() // line_px, _MOST_LABEL_ROWS)
        spots = place_labels([self._x_px(place) for place, _ in self._markers], widths_px, self.width(), rows)
        return [
            (marker, text, QRectF(spot[0], spot[1] * line_px, width_px, line_px))
            for (_, marker), text, width_px, spot in zip(self._markers, texts, widths_px, spots, strict=True)
            if spot is not None
        ]

    def _paint_line(self, painter: QPainter, place: float) -> None:
        painter.drawLine(QPointF(self._x_px(place), 0), QPointF(self._x_px(place), self.height()))

    def _x_px(self, place: float) -> float:
        return round(place * (self.width() - 1)) + 0.5

    def _place(self, x_px: float) -> float:
        return min(max(x_px / self._width_px(), 0.0), 1.0)

    def _width_px(self) -> int:
        return max(self.width(), 1)
