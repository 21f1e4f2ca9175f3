"""How a model is shared out over several devices: by their free memory, evenly, or by hand."""

from __future__ import annotations

import re

from PySide6.QtCore import QRegularExpression, Signal
from PySide6.QtGui import QRegularExpressionValidator
from PySide6.QtWidgets import QComboBox, QHBoxLayout, QLineEdit, QWidget

from launchdeck.domain.request import EVEN_SPLIT
from launchdeck.ui.kit.i18n import tr

_BY_FREE_MEMORY, _EVEN, _BY_HAND = range(3)  # the entries of the list
_NARROWEST_COMBO_PX = 96
_NARROWEST_SHARES_PX = 56
_SHARE = re.compile(r"\d+(?:\.\d*)?|\.\d+")


class SplitField(QWidget):
    """`chosen` fires for what the user does. By hand: numbers of any scale, one for each device."""

    chosen = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.combo = QComboBox()
        self.combo.addItems([tr("by free memory"), tr("even"), tr("by hand")])
        self.combo.setAccessibleName(tr("Split over several devices"))
        self.combo.setMinimumWidth(_NARROWEST_COMBO_PX)
        self._shares = QLineEdit(placeholderText="3, 1")
        self._shares.setMinimumWidth(_NARROWEST_SHARES_PX)
        self._shares.setAccessibleName(tr("Share of each device"))
        self._shares.setValidator(QRegularExpressionValidator(QRegularExpression(r"[0-9., :/]*"), self))
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(8)
        row.addWidget(self.combo, 3)
        row.addWidget(self._shares, 2)
        self.combo.activated.connect(self._take_kind)
        self._shares.textEdited.connect(lambda _: self.chosen.emit())
        self.set_value(None)

    def value(self) -> tuple[float, ...] | None:
        """As in a request; by hand without any number is by free memory."""
        if self.combo.currentIndex() == _EVEN:
            return EVEN_SPLIT
        return tuple(float(share) for share in _SHARE.findall(self._shares.text())) or None

    def set_value(self, split: tuple[float, ...] | None) -> None:
        """As in a request. Tells nobody."""
        kind = _BY_FREE_MEMORY if split is None else _BY_HAND if split else _EVEN
        self.combo.setCurrentIndex(kind)
        self._shares.setText(", ".join(f"{share:g}" for share in split or ()))
        self._shares.setVisible(kind == _BY_HAND)

    def _take_kind(self, kind: int) -> None:
        self._shares.setVisible(kind == _BY_HAND)
        if kind == _BY_HAND:
            self._shares.setFocus()
        else:
            self._shares.clear()
        self.chosen.emit()
