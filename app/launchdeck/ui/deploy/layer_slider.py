"""The slider of the layers: from 0, the CPU, to all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QPointF, QRect, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QColor, QPainter, QPen
from PySide6.QtWidgets import QSizePolicy, QSlider, QWidget

from launchdeck.ui.kit import fonts, theme
from launchdeck.ui.kit.i18n import tr

if TYPE_CHECKING:
    from PySide6.QtGui import QKeyEvent, QMouseEvent, QPaintEvent, QWheelEvent

_HANDLE_RADIUS_PX = 5.0
_RING_RADIUS_PX = 8.0
_GROOVE_PX = 4.0
_TRACK_HEIGHT_PX = 20
_PAGES = 8
_SNAP_PX = 4.0
_MARK_PX = 2.0


class LayerSlider(QSlider):
    """A QSlider (its keys, its accessibility) that paints itself, with "0 CPU", "n / N · auto" and "all" below.

    `chosen` carries the value that the user has moved it to; `valueChanged` fires for setValue() as well.
    """

    chosen = Signal(int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(Qt.Orientation.Horizontal, parent)
        self._auto = False
        self._mark: int | None = None
        self.setAccessibleName(tr("Layers on the GPU"))
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.set_layer_count(0)

    def set_layer_count(self, count: int) -> None:
        """All the layers there are; 0 while no model is chosen."""
        self.setRange(0, count)
        self.setPageStep(max(1, count // _PAGES))
        self.setEnabled(count > 0)
        self.update()

    def set_auto(self, auto: bool) -> None:  # noqa: FBT001
        """Say that the number was found for the user, who takes over by moving the slider."""
        self._auto = auto
        self.update()

    def set_mark(self, layers: int | None) -> None:
        """Show where "auto" would put the handle; None: nowhere. The mouse snaps to it, and to both ends."""
        if layers == self._mark:
            return
        self._mark = layers
        text = "" if layers is None else tr("At most {count} layers fit", count=layers)
        self.setToolTip(text)
        self.setAccessibleDescription(text)
        self.update()

    def mark(self) -> int | None:
        return self._mark

    def caption(self) -> tuple[str, str]:
        """The words in the middle: the number, and what it is out of."""
        rest = f" / {self.maximum():,}"
        return f"{self.value():,}", f"{rest} · {tr('auto')}" if self._auto else rest

    def sizeHint(self) -> QSize:
        return QSize(160, _TRACK_HEIGHT_PX + fonts.small_height_px() + 2)

    def minimumSizeHint(self) -> QSize:
        return self.sizeHint()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        before = self.value()
        super().keyPressEvent(event)
        self._report(before)

    def wheelEvent(self, event: QWheelEvent) -> None:
        """Only with the focus: the wheel over a scrolling form must not change the launch."""
        if not self.hasFocus():
            event.ignore()
            return
        before = self.value()
        super().wheelEvent(event)
        self._report(before)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        if event.button() == Qt.MouseButton.LeftButton:
            self.setSliderDown(True)
            self._move_to(event.position().x())

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        if self.isSliderDown():
            self._move_to(event.position().x())

    def mouseReleaseEvent(self, _event: QMouseEvent) -> None:
        self.setSliderDown(False)

    def paintEvent(self, _event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        self._paint_track(painter)
        self._paint_labels(painter)

    def _report(self, before: int) -> None:
        if self.value() != before:
            self.chosen.emit(self.value())

    def _move_to(self, x: float) -> None:
        before = self.value()
        left, width = _RING_RADIUS_PX, self.width() - 2 * _RING_RADIUS_PX
        detents = (layers for layers in (0, self.maximum(), self._mark) if layers is not None)
        near = next((layers for layers in detents if abs(self._x_of(layers) - x) <= _SNAP_PX), None)
        self.setValue(round((x - left) / max(width, 1) * self.maximum()) if near is None else near)
        self._report(before)

    def _x_of(self, layers: int) -> float:
        width = self.width() - 2 * _RING_RADIUS_PX
        return _RING_RADIUS_PX + width * layers / max(self.maximum(), 1)

    def _paint_track(self, painter: QPainter) -> None:
        theme_tokens = theme.tokens()
        accent = QColor(theme_tokens.accent if self.isEnabled() else theme_tokens.faint)
        middle = _TRACK_HEIGHT_PX / 2
        handle = QPointF(self._x_of(self.value()), middle)
        painter.setPen(Qt.PenStyle.NoPen)
        for length, colour in ((self.width(), QColor(theme_tokens.track)), (handle.x(), accent)):
            painter.setBrush(colour)
            groove = QRectF(0, middle - _GROOVE_PX / 2, length, _GROOVE_PX)
            painter.drawRoundedRect(groove, _GROOVE_PX / 2, _GROOVE_PX / 2)
        if self._mark is not None and self.isEnabled():
            painter.setBrush(QColor(theme_tokens.muted))
            painter.drawRect(QRectF(self._x_of(self._mark) - _MARK_PX / 2, middle - 6, _MARK_PX, 12))
        painter.setBrush(QColor(theme_tokens.panel))
        painter.setPen(QPen(accent, 2.5 if self.hasFocus() else 1.0))
        painter.drawEllipse(handle, _RING_RADIUS_PX - 1.5, _RING_RADIUS_PX - 1.5)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(accent)
        painter.drawEllipse(handle, _HANDLE_RADIUS_PX - 0.5, _HANDLE_RADIUS_PX - 0.5)

    def _paint_labels(self, painter: QPainter) -> None:
        theme_tokens = theme.tokens()
        area = QRect(0, _TRACK_HEIGHT_PX, self.width(), self.height() - _TRACK_HEIGHT_PX)
        painter.setFont(fonts.small_font())
        painter.setPen(QColor(theme_tokens.muted))
        painter.drawText(area, Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter, tr("0 CPU"))
        painter.drawText(area, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter, tr("all"))
        if not self.isEnabled():
            return
        number, rest = self.caption()
        number_px = fonts.small_width_px(number, bold=True)
        rest_px = fonts.small_width_px(rest)
        left = (self.width() - number_px - rest_px) // 2
        painter.drawText(area.adjusted(left + number_px, 0, 0, 0), Qt.AlignmentFlag.AlignVCenter, rest)
        painter.setFont(fonts.small_font(bold=True))
        painter.setPen(QColor(theme_tokens.text))
        painter.drawText(area.adjusted(left, 0, 0, 0), Qt.AlignmentFlag.AlignVCenter, number)
