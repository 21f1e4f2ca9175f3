"""Names and values in two columns, in small print; what is the same as before is left alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from PySide6.QtCore import QEvent, Qt
from PySide6.QtWidgets import QGridLayout, QLabel, QWidget

from launchdeck.ui.kit import theme
from launchdeck.ui.kit.elided_label import ElidedLabel

if TYPE_CHECKING:
    from collections.abc import Sequence

_MARK = "■"
_MARK_COLUMN, _NAME_COLUMN, _VALUE_COLUMN = range(3)


@dataclass(frozen=True, slots=True)
class ValueRow:
    """`color` ("#rrggbb") puts a square of it before the name; a `missing` value is a sentence, not a number."""

    name: str
    value: str
    color: str = ""
    missing: bool = False


class ValueRows(QWidget):
    """Where there is too little room, the values give way, or the names where these are `long_names`."""

    def __init__(self, *, long_names: bool = False) -> None:
        super().__init__()
        self._long_names = long_names
        self._rows: tuple[ValueRow, ...] = ()
        self._lines: list[tuple[QLabel, QLabel, QLabel]] = []
        self._grid = QGridLayout(self)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setHorizontalSpacing(6)
        self._grid.setVerticalSpacing(3)
        self._grid.setColumnStretch(_NAME_COLUMN if long_names else _VALUE_COLUMN, 1)

    @property
    def rows(self) -> tuple[ValueRow, ...]:
        """What is shown."""
        return self._rows

    def show_rows(self, rows: Sequence[ValueRow]) -> None:
        """Show these instead."""
        if tuple(rows) == self._rows:
            return
        self._rows = tuple(rows)
        while len(self._lines) < len(rows):
            self._add_line()
        while len(self._lines) > len(rows):
            for label in self._lines.pop():
                self._grid.removeWidget(label)
                label.hide()
                label.deleteLater()
        self._fill()

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if event.type() == QEvent.Type.PaletteChange:
            self._fill()  # the colours are the theme's

    def _fill(self) -> None:
        for line, row in zip(self._lines, self._rows, strict=True):
            _show(line, row)

    def _add_line(self) -> None:
        mark, name, value = (
            QLabel(_MARK),
            ElidedLabel() if self._long_names else QLabel(),
            QLabel() if self._long_names else ElidedLabel(),
        )
        value.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        for column, label in enumerate((mark, name, value)):
            label.setProperty("role", "value")
            label.setTextFormat(Qt.TextFormat.PlainText)
            self._grid.addWidget(label, len(self._lines), column)
        self._lines.append((mark, name, value))


def _show(line: tuple[QLabel, QLabel, QLabel], row: ValueRow) -> None:
    mark, name, value = line
    mark.setVisible(bool(row.color))
    _paint(mark, row.color or theme.tokens().text)
    _paint(name, theme.tokens().text if row.color else theme.tokens().muted)
    _paint(value, theme.tokens().muted if row.missing else theme.tokens().text)
    name.setText(row.name)
    value.setText(row.value)
    value.setAccessibleName(row.name)


def _paint(label: QLabel, color: str) -> None:
    style_sheet = f"color: {color}"  # the application's own overrides a palette
    if label.styleSheet() != style_sheet:
        label.setStyleSheet(style_sheet)
