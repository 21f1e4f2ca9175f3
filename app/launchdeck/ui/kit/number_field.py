"""A spin box that looks like the other fields: Qt's style sheets leave its text at the very edge."""

from __future__ import annotations

from PySide6.QtWidgets import QSpinBox, QWidget

_HEIGHT_PX = 30
_TEXT_MARGIN_PX = 9


class NumberField(QSpinBox):
    """`name` is for assistive technology."""

    def __init__(self, name: str, low: int = 0, high: int = 0, value: int = 0, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setAccessibleName(name)
        self.setRange(low, high)
        self.setValue(value)
        self.setFixedHeight(_HEIGHT_PX)
        self.lineEdit().setTextMargins(_TEXT_MARGIN_PX, 0, 0, 0)
