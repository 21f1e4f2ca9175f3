"""The line of numbers in a card: the memory at the left, the others spread to the right edge."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from PySide6.QtCore import QRect, QSize, Qt
from PySide6.QtGui import QColor, QPainter
from PySide6.QtWidgets import QSizePolicy, QWidget

from launchdeck.ui.kit import fonts, theme

if TYPE_CHECKING:
    from PySide6.QtGui import QPaintEvent

_SMALLEST_GAP_PX = 8
_LINE_SPACING_PX = 2


@dataclass(frozen=True, slots=True)
class Facts:
    """`lead` is emphasised and `rest` follows it: "11.4", " / 24 GiB". `others` are pairs of a text and the
    widest text usual in its place, whose room it keeps: nothing jumps when 9 becomes 10. `alert` is for a lead
    that tells of trouble.
    """

    lead: str
    rest: str = ""
    others: tuple[tuple[str, str], ...] = ()
    alert: bool = False

    def __str__(self) -> str:
        return ", ".join([self.lead + self.rest, *(text for text, _ in self.others)])


class FactsRow(QWidget):
    """Paints `Facts` in one line, or in two where one is too narrow."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.facts = Facts("")
        policy = QSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        policy.setHeightForWidth(True)
        self.setSizePolicy(policy)

    def show_facts(self, facts: Facts) -> None:
        if facts == self.facts:
            return
        had_lines = self._line_count(self.width())
        self.facts = facts
        self.setAccessibleDescription(str(facts))
        if self._line_count(self.width()) != had_lines:
            self.updateGeometry()
        self.update()

    def heightForWidth(self, width: int) -> int:
        line_px = fonts.small_height_px()
        count = self._line_count(width)
        return count * line_px + (count - 1) * _LINE_SPACING_PX

    def sizeHint(self) -> QSize:
        return QSize(self._lead_px() + sum(self._widths()), self.heightForWidth(self.width()))

    def minimumSizeHint(self) -> QSize:
        return QSize(max([self._lead_px(), *self._widths()]), self.heightForWidth(self.width()))

    def paintEvent(self, _event: QPaintEvent) -> None:
        painter = QPainter(self)
        line_px = fonts.small_height_px()
        lead = QRect(0, 0, self._lead_px(), line_px)
        painter.setFont(fonts.small_font(bold=True))
        painter.setPen(QColor(theme.tokens().bad if self.facts.alert else theme.tokens().text))
        painter.drawText(lead, Qt.AlignmentFlag.AlignVCenter, self.facts.lead)
        painter.setFont(fonts.small_font())
        painter.setPen(QColor(theme.tokens().muted))
        lead.setLeft(fonts.small_width_px(self.facts.lead, bold=True))
        painter.drawText(lead, Qt.AlignmentFlag.AlignVCenter, self.facts.rest)
        if self._line_count(self.width()) == 1:
            self._paint_others(painter, QRect(lead.right() + 1, 0, self.width() - lead.right() - 1, line_px))
        else:
            self._paint_others(painter, QRect(0, line_px + _LINE_SPACING_PX, self.width(), line_px))

    def _paint_others(self, painter: QPainter, area: QRect) -> None:
        """Gaps are equal, the last one ends at the right edge; on a line of their own the first begins at the left."""
        widths = self._widths()
        gap_count = len(widths) if area.left() else len(widths) - 1
        gap = (area.width() - sum(widths)) / max(gap_count, 1)
        right = area.left() - (0.0 if area.left() else gap)
        for place, ((text, _), width) in enumerate(zip(self.facts.others, widths, strict=True)):
            right += gap + width
            leads_a_line = place == 0 and not area.left()
            side = Qt.AlignmentFlag.AlignLeft if leads_a_line else Qt.AlignmentFlag.AlignRight
            cell = QRect(round(right) - width, area.top(), width, area.height())
            painter.drawText(cell, side | Qt.AlignmentFlag.AlignVCenter, text)

    def _line_count(self, width: int) -> int:
        others = self._widths()
        return 1 if self._lead_px() + sum(others) + _SMALLEST_GAP_PX * len(others) <= width else 2

    def _lead_px(self) -> int:
        bold = fonts.small_width_px(self.facts.lead, bold=True)
        return bold + fonts.small_width_px(self.facts.rest)

    def _widths(self) -> list[int]:
        return [max(map(fonts.small_width_px, pair)) for pair in self.facts.others]
