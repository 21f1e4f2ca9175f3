"""Who holds how much of a memory: one bar of coloured segments."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from PySide6.QtCore import QRectF, QSize, Qt
from PySide6.QtGui import QColor, QPainter, QPainterPath
from PySide6.QtWidgets import QSizePolicy, QWidget

from launchdeck.ui.kit import theme
from launchdeck.ui.kit.format import gib_with_unit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PySide6.QtGui import QPaintEvent

_GAP_PX = 1.0
_LIMIT_PX = 2.0


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of the bar. `color` is "#rrggbb"."""

    label: str
    size_bytes: int
    color: str


class StackedBar(QWidget):
    """Segments from the left against `total_bytes`. What exceeds the total is drawn, behind a line at the total."""

    def __init__(self, height_px: int = 10, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._height_px = height_px
        self._segments: tuple[Segment, ...] = ()
        self._total_bytes = 0
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

    def show_segments(self, segments: Sequence[Segment], total_bytes: int) -> None:
        """Draw these; the tooltip and the accessible description name every segment."""
        shown = tuple(segment for segment in segments if segment.size_bytes > 0)
        if (shown, total_bytes) == (self._segments, self._total_bytes):
            return
        self._segments, self._total_bytes = shown, total_bytes
        lines = [f"{segment.label}  {gib_with_unit(segment.size_bytes, 2)}" for segment in shown]
        self.setToolTip("\n".join(lines))
        self.setAccessibleDescription(", ".join(lines))
        self.update()

    def segments(self) -> tuple[Segment, ...]:
        """What is drawn, from the left."""
        return self._segments

    def sizeHint(self) -> QSize:
        return QSize(120, self._height_px)

    def minimumSizeHint(self) -> QSize:
        return QSize(40, self._height_px)

    def paintEvent(self, _event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        area = QRectF(0, (self.height() - self._height_px) / 2, self.width(), self._height_px)
        radius = min(5.0, area.height() / 2)
        outline = QPainterPath()
        outline.addRoundedRect(area, radius, radius)
        painter.setClipPath(outline)
        painter.fillRect(area, QColor(theme.tokens().track))
        self._paint_segments(painter, area)

    def _paint_segments(self, painter: QPainter, area: QRectF) -> None:
        used_bytes = sum(segment.size_bytes for segment in self._segments)
        full_bytes = max(self._total_bytes, used_bytes)
        if not full_bytes:
            return
        scale = area.width() / full_bytes
        left = 0.0
        for segment in self._segments:
            width = segment.size_bytes * scale
            painter.fillRect(
                QRectF(left, area.top(), max(width - _GAP_PX, _GAP_PX), area.height()), QColor(segment.color)
            )
            left += width
        if used_bytes > self._total_bytes:
            limit = QRectF(self._total_bytes * scale - _LIMIT_PX / 2, area.top(), _LIMIT_PX, area.height())
            painter.fillRect(limit, QColor(theme.tokens().text))
