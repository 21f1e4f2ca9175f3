"""The sign of a deployment's state: a shape of its own for every state, so that the colour is never alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QPainter, QPen, QPolygonF

from launchdeck.domain.deployment import State
from launchdeck.ui.kit.theme import tokens

if TYPE_CHECKING:
    from launchdeck.domain.deployment import Deployment

MARK_PX = 10
_UNKNOWN_PROGRESS = 0.25


def state_color(state: State) -> str:
    theme = tokens()
    match state:
        case State.RUNNING:
            return theme.ok
        case State.FAILED:
            return theme.bad
        case State.UNRESPONSIVE:
            return theme.warn
        case State.QUEUED | State.STARTING | State.LOADING:
            return theme.accent
    return theme.muted


def paint_state(painter: QPainter, area: QRectF, deployment: Deployment) -> None:
    """Disc: running. Ring that fills: on its way. Diamond: not responding. Triangle: failed. Square: ended."""
    color = QColor(state_color(deployment.state))
    box = QRectF(0, 0, MARK_PX, MARK_PX)
    box.moveCenter(area.center())
    painter.save()
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(color)
    match deployment.state:
        case State.RUNNING:
            painter.drawEllipse(box)
        case State.FAILED:
            painter.drawPolygon(QPolygonF([box.bottomLeft(), QPointF(box.center().x(), box.top()), box.bottomRight()]))
        case State.UNRESPONSIVE:
            painter.drawPolygon(QPolygonF(_diamond(box)))
        case State.STOPPED | State.STOPPING:
            painter.drawRoundedRect(box.adjusted(1, 1, -1, -1), 2, 2)
        case _:
            _paint_ring(painter, box, color, deployment)
    painter.restore()


def _paint_ring(painter: QPainter, box: QRectF, color: QColor, deployment: Deployment) -> None:
    share = 0.0
    if deployment.state is State.LOADING:
        share = _UNKNOWN_PROGRESS if deployment.progress is None else deployment.progress
    painter.drawPie(box, 90 * 16, round(-share * 360 * 16))  # from twelve o'clock, clockwise, in 16ths of a degree
    painter.setBrush(Qt.BrushStyle.NoBrush)
    painter.setPen(QPen(color, 1.5))
    painter.drawEllipse(box.adjusted(0.75, 0.75, -0.75, -0.75))


def _diamond(box: QRectF) -> list[QPointF]:
    centre = box.center()
    return [
        QPointF(centre.x(), box.top()),
        QPointF(box.right(), centre.y()),
        QPointF(centre.x(), box.bottom()),
        QPointF(box.left(), centre.y()),
    ]
