"""Paints the table of deployments: state signs, progress and memory bars, and the buttons in a row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QEvent, QModelIndex, QObject, QPersistentModelIndex, QPoint, QRect, QRectF, Qt, Signal
from PySide6.QtGui import QColor, QFontMetrics, QHelpEvent, QMouseEvent, QPainter, QPen
from PySide6.QtWidgets import (
    QAbstractItemView,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QToolTip,
)

from launchdeck.domain.deployment import State
from launchdeck.ui.deployments.deployments_model import DEPLOYMENT_ROLE, NOT_TOLD, Column
from launchdeck.ui.deployments.row_actions import RowAction, action_text, ending_action, offer, offer_text
from launchdeck.ui.deployments.state_mark import MARK_PX, paint_state, state_color
from launchdeck.ui.kit import deployment_text as words
from launchdeck.ui.kit.fonts import small_font, text_font
from launchdeck.ui.kit.format import gib
from launchdeck.ui.kit.model_colors import model_color
from launchdeck.ui.kit.theme import tokens

if TYPE_CHECKING:
    from launchdeck.domain.deployment import Deployment
    from launchdeck.domain.errors import Fix

PAD_PX = 8
BUTTON_PX = 24
_BAR_PX = 6
_SHORTEST_BAR_PX = 16
_GLYPHS = {RowAction.STOP: "■", RowAction.DISMISS: "×"}
_Index = QModelIndex | QPersistentModelIndex


class DeploymentsDelegate(QStyledItemDelegate):
    """Everything it paints is also in the model's text, the context menu and the keys."""

    action_triggered = Signal(object, object)  # Deployment, RowAction
    fix_triggered = Signal(object, object)  # Deployment, Fix

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._pointer = QPoint(-1, -1)

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: _Index) -> None:
        from PySide6.QtWidgets import QStyle  # noqa: PLC0415 (its enums take 10 ms, and there are no rows at first)

        self.initStyleOption(option, index)
        text, option.text = option.text, ""
        option.widget.style().drawControl(QStyle.ControlElement.CE_ItemViewItem, option, painter, option.widget)
        deployment: Deployment = index.data(DEPLOYMENT_ROLE)
        area = option.rect.adjusted(PAD_PX, 0, -PAD_PX, 0)
        painter.save()
        match Column(index.column()):
            case Column.NAME:
                self._paint_name(painter, area, deployment)
            case Column.STATE:
                self._paint_state(painter, area, deployment, text)
            case Column.VRAM if offered := offer(deployment):
                self._paint_offer(painter, area, offered)
            case Column.VRAM if deployment.plan.estimate.devices:
                self._paint_memory(painter, area, deployment)
            case Column.ACTIONS:
                self._paint_ending(painter, option.rect, deployment)
            case Column.LAYERS if words.layers_differ(deployment):
                _text(painter, area, f"▲ {text}", tokens().warn, Qt.AlignmentFlag.AlignRight)
            case _:
                ended = Column(index.column()) is not Column.ENGINE and not deployment.state.is_live
                color = tokens().muted if ended or text == NOT_TOLD else tokens().text
                _text(painter, area, text, color, option.displayAlignment)
        painter.restore()

    def _paint_name(self, painter: QPainter, area: QRect, deployment: Deployment) -> None:
        paint_state(painter, QRectF(area.left(), area.top(), MARK_PX, area.height()), deployment)
        painter.setFont(text_font(bold=True))
        _text(painter, area.adjusted(MARK_PX + PAD_PX, 0, PAD_PX, 0), deployment.plan.model_id, tokens().text)

    def _paint_state(self, painter: QPainter, area: QRect, deployment: Deployment, text: str) -> None:
        color = state_color(deployment.state)
        if deployment.state is not State.LOADING or deployment.progress is None:
            _text(painter, area, text, color)
            return
        number_px = painter.fontMetrics().horizontalAdvance("100 %") + PAD_PX
        bar = QRect(area.left(), area.top(), min(area.width() - number_px, 96), area.height())
        if bar.width() >= _SHORTEST_BAR_PX:
            _bar(painter, bar, deployment.progress, color)
        number = QRect(area.left(), area.top(), max(bar.width(), 0) + number_px, area.height())
        _text(painter, number, text, color, Qt.AlignmentFlag.AlignRight)

    def _paint_memory(self, painter: QPainter, area: QRect, deployment: Deployment) -> None:
        predicted = words.predicted_bytes(deployment.plan)
        measured = deployment.vram_bytes
        metrics = painter.fontMetrics()
        right = f" / {gib(predicted)}"
        right_px, left_px = metrics.horizontalAdvance(" / 88.8"), metrics.horizontalAdvance("88.8")
        _text(painter, area, right, tokens().muted, Qt.AlignmentFlag.AlignRight)
        left_end = area.right() - metrics.horizontalAdvance(right)
        shown = NOT_TOLD if measured is None else gib(measured)
        color = tokens().muted if measured is None else tokens().text
        _text(
            painter,
            QRect(area.left(), area.top(), left_end - area.left() + 1, area.height()),
            shown,
            color,
            Qt.AlignmentFlag.AlignRight,
        )
        bar = area.adjusted(0, 0, -(right_px + left_px + PAD_PX), 0)
        if bar.width() >= _SHORTEST_BAR_PX and predicted:
            _bar(painter, bar, (measured or 0) / predicted, model_color(deployment.id))

    def _paint_offer(self, painter: QPainter, area: QRect, offered: Fix | RowAction) -> None:
        button = _offer_rect(area, offered)
        if button.width() < _SHORTEST_BAR_PX:  # its column is left out
            return
        hovered = button.contains(self._pointer)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(QPen(QColor(tokens().accent if hovered else tokens().line)))
        painter.setBrush(QColor(tokens().panel))
        painter.drawRoundedRect(QRectF(button).adjusted(0.5, 0.5, -0.5, -0.5), 5, 5)
        painter.setFont(small_font())
        _text(painter, button, offer_text(offered), tokens().text, Qt.AlignmentFlag.AlignHCenter)

    def _paint_ending(self, painter: QPainter, cell: QRect, deployment: Deployment) -> None:
        action = ending_action(deployment)
        if action:
            button = _ending_rect(cell)
            color = tokens().text if button.contains(self._pointer) else tokens().muted
            _text(painter, button, _GLYPHS[action], color, Qt.AlignmentFlag.AlignHCenter)

    # the mouse

    def editorEvent(self, event: QEvent, model: Any, option: QStyleOptionViewItem, index: _Index) -> bool:
        if isinstance(event, QMouseEvent):
            self._pointer = event.position().toPoint()
            released = event.type() == QEvent.Type.MouseButtonRelease and event.button() == Qt.MouseButton.LeftButton
            if released and self._click(option.rect, index):
                return True
        return super().editorEvent(event, model, option, index)

    def forget_pointer(self) -> None:
        """The mouse has left the table."""
        self._pointer = QPoint(-1, -1)

    def _click(self, cell: QRect, index: _Index) -> bool:
        deployment: Deployment = index.data(DEPLOYMENT_ROLE)
        hit = self._hit(cell, index)
        if isinstance(hit, RowAction):
            self.action_triggered.emit(deployment, hit)
        elif hit is not None:
            self.fix_triggered.emit(deployment, hit)
        return hit is not None

    def _hit(self, cell: QRect, index: _Index) -> RowAction | Fix | None:
        """The button of this cell under the mouse."""
        deployment: Deployment = index.data(DEPLOYMENT_ROLE)
        match Column(index.column()):
            case Column.ACTIONS if _ending_rect(cell).contains(self._pointer):
                return ending_action(deployment)
            case Column.VRAM if offered := offer(deployment):
                button = _offer_rect(cell.adjusted(PAD_PX, 0, -PAD_PX, 0), offered)
                return offered if button.contains(self._pointer) else None
        return None

    def helpEvent(
        self, event: QHelpEvent, view: QAbstractItemView, option: QStyleOptionViewItem, index: _Index
    ) -> bool:
        self._pointer = event.pos()
        hit = self._hit(option.rect, index) if index.isValid() else None
        if isinstance(hit, RowAction):
            QToolTip.showText(event.globalPos(), action_text(hit), view)
            return True
        return super().helpEvent(event, view, option, index)


def _offer_rect(area: QRect, offered: Fix | RowAction) -> QRect:
    width = QFontMetrics(small_font()).horizontalAdvance(offer_text(offered)) + 2 * PAD_PX
    return QRect(area.left(), area.center().y() - 10, min(width, area.width()), 21)


def _ending_rect(cell: QRect) -> QRect:
    rect = QRect(0, 0, BUTTON_PX, BUTTON_PX)
    rect.moveCenter(cell.center())
    return rect


def _text(
    painter: QPainter,
    area: QRect,
    text: str,
    color: str,
    alignment: Qt.AlignmentFlag = Qt.AlignmentFlag.AlignLeft,
) -> None:
    painter.setPen(QColor(color))
    shown = painter.fontMetrics().elidedText(text, Qt.TextElideMode.ElideRight, area.width())
    painter.drawText(area, alignment | Qt.AlignmentFlag.AlignVCenter, shown)


def _bar(painter: QPainter, area: QRect, share: float, color: str) -> None:
    """A bar of 0 to 1; more than 1 is full."""
    painter.save()
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setPen(Qt.PenStyle.NoPen)
    track = QRectF(area.left(), area.center().y() - _BAR_PX / 2 + 1, area.width(), _BAR_PX)
    painter.setBrush(QColor(tokens().track))
    painter.drawRoundedRect(track, 2, 2)
    track.setWidth(track.width() * min(max(share, 0.0), 1.0))
    painter.setBrush(QColor(color))
    painter.drawRoundedRect(track, 2, 2)
    painter.restore()
