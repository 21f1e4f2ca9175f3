"""The choice of the context: powers of two up to the model's limit, or any number."""

from __future__ import annotations

from PySide6.QtCore import QRegularExpression, Signal
from PySide6.QtGui import QRegularExpressionValidator
from PySide6.QtWidgets import QComboBox, QLineEdit, QWidget

from launchdeck.ui.kit.format import count
from launchdeck.ui.kit.i18n import tr

USUAL_CONTEXT = 8192
_SMALLEST = 1024
_LARGEST = 1 << 20


class ContextCombo(QComboBox):
    """Left empty it asks for the usual: the model's own context, at most 8,192."""

    chosen = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._limit: int | None = 0  # none was told
        edit = QLineEdit(self)
        self.setLineEdit(edit)
        self.setCompleter(None)  # type: ignore[arg-type] # a C++ null pointer: what is typed stays as it is
        self.setInsertPolicy(QComboBox.InsertPolicy.NoInsert)
        self.setAccessibleName(tr("Context, in tokens"))
        self.setMinimumContentsLength(5)
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        edit.setPlaceholderText(tr("auto"))
        edit.setValidator(QRegularExpressionValidator(QRegularExpression("[0-9,]*"), self))
        edit.textEdited.connect(lambda _: self.chosen.emit())
        self.activated.connect(lambda _: self.chosen.emit())

    def set_limit(self, limit: int | None) -> None:
        """Offer what one slot of this model can. More can be typed, for several slots."""
        if limit == self._limit:
            return
        self._limit = limit
        value = self.value()
        self.clear()
        size = _SMALLEST
        while size <= (limit or _LARGEST):
            self.addItem(count(size))
            size *= 2
        if limit and self.findText(count(limit)) < 0:
            self.addItem(count(limit))
        self.set_value(value)

    def value(self) -> int | None:
        """Tokens in all, None for the usual."""
        digits = self.currentText().replace(",", "")
        return int(digits) if digits else None

    def set_value(self, n_ctx: int | None) -> None:
        """Tells nobody."""
        self.setEditText("" if n_ctx is None else count(n_ctx))
