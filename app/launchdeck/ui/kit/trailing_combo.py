"""A combo box whose entries have a muted word at their right end: a size, a free memory."""

from __future__ import annotations

from PySide6.QtCore import QModelIndex, QPersistentModelIndex, QSize, Qt
from PySide6.QtGui import QColor, QPainter, QPaintEvent, QResizeEvent
from PySide6.QtWidgets import (
    QComboBox,
    QStyledItemDelegate,
    QStyleOptionComboBox,
    QStyleOptionViewItem,
    QWidget,
)

from launchdeck.ui.kit.theme import tokens

TRAILING_ROLE = Qt.ItemDataRole.UserRole + 10

_ARROW_PX = 24
_GAP_PX = 10
_ROW_PX = 28


class TrailingDelegate(QStyledItemDelegate):
    """Paints an entry with its TRAILING_ROLE at the right; the text gives way."""

    def paint(
        self, painter: QPainter, option: QStyleOptionViewItem, index: QModelIndex | QPersistentModelIndex
    ) -> None:
        super().paint(painter, option, index)
        trailing = index.data(TRAILING_ROLE)
        if trailing:
            painter.save()
            painter.setPen(QColor(tokens().muted))
            area = option.rect.adjusted(0, 0, -_GAP_PX, 0)
            painter.drawText(area, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter, trailing)
            painter.restore()

    def initStyleOption(self, option: QStyleOptionViewItem, index: QModelIndex | QPersistentModelIndex) -> None:
        super().initStyleOption(option, index)
        trailing = index.data(TRAILING_ROLE)
        if trailing:
            taken = option.fontMetrics.horizontalAdvance(trailing) + 4 * _GAP_PX
            room = max(option.rect.width() - taken, 40)
            option.text = option.fontMetrics.elidedText(option.text, Qt.TextElideMode.ElideMiddle, room)

    def sizeHint(self, option: QStyleOptionViewItem, index: QModelIndex | QPersistentModelIndex) -> QSize:
        return QSize(super().sizeHint(option, index).width(), _ROW_PX)


class TrailingCombo(QComboBox):
    """The closed box shows the word too, before its arrow. Where it can be typed in, only if the text leaves room: what
    is being edited cannot give way by an ellipsis.
    """

    def __init__(self, name: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._shown_text: str | None = None
        self._trailing = ""
        self.setAccessibleName(name)
        self._has_list = False
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.setMinimumContentsLength(8)

    def showPopup(self) -> None:
        """The list, which takes longer to make than all the rest, is made when it is asked for."""
        if not self._has_list:
            self._has_list = True
            self.make_list()
        super().showPopup()

    def make_list(self) -> None:
        """Before the list is shown for the first time."""
        self.setItemDelegate(TrailingDelegate(self))

    def set_trailing(self, text: str) -> None:
        self._trailing = text
        self._make_room()
        self.update()

    def trailing(self) -> str:
        return self._trailing

    def shows_trailing(self) -> bool:
        """Whether the closed box has room for the word."""
        return self.lineEdit() is None or self.fontMetrics().horizontalAdvance(self.currentText()) <= self._room()

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._make_room()

    def set_shown_text(self, text: str) -> None:
        """What the closed box says instead of the current entry."""
        self._shown_text = text
        self.update()

    def shown_text(self) -> str:
        """What the closed box says."""
        return self.currentText() if self._shown_text is None else self._shown_text

    def initStyleOption(self, option: QStyleOptionComboBox) -> None:
        """The text gives way to the word at its right."""
        super().initStyleOption(option)
        icon_px = 0 if option.currentIcon.isNull() else option.iconSize.width() + _GAP_PX
        room = self._room() - icon_px
        option.currentText = self.fontMetrics().elidedText(self.shown_text(), Qt.TextElideMode.ElideRight, room)

    def paintEvent(self, event: QPaintEvent) -> None:
        super().paintEvent(event)
        if not self.shows_trailing():
            return
        painter = QPainter(self)
        painter.setPen(QColor(tokens().muted))
        area = self.rect().adjusted(0, 0, -_ARROW_PX, 0)
        painter.drawText(area, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter, self._trailing)

    def _make_room(self) -> None:
        if edit := self.lineEdit():
            edit.setTextMargins(0, 0, self._trailing_width() + _GAP_PX if self.shows_trailing() else 0, 0)

    def _room(self) -> int:
        """For the text, beside the word and the arrow."""
        return self.width() - self._trailing_width() - _ARROW_PX - 2 * _GAP_PX

    def _trailing_width(self) -> int:
        return self.fontMetrics().horizontalAdvance(self._trailing)
