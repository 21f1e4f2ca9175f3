"""The field in which a prompt is typed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QPlainTextEdit

from launchdeck.ui.kit.i18n import tr

if TYPE_CHECKING:
    from PySide6.QtGui import QKeyEvent

_HEIGHT_PX = 54
_ENTER = frozenset({Qt.Key.Key_Return, Qt.Key.Key_Enter})


class Prompt(QPlainTextEdit):
    """Enter (and Ctrl+Enter) is `entered`, Shift+Enter a new line."""

    entered = Signal()

    def __init__(self) -> None:
        super().__init__(tabChangesFocus=True, placeholderText=tr("Ask something (Shift+Enter: a new line)"))
        self.setAccessibleName(tr("Prompt"))
        self.setFixedHeight(_HEIGHT_PX)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() in _ENTER and not event.modifiers() & Qt.KeyboardModifier.ShiftModifier:
            self.entered.emit()
        else:
            super().keyPressEvent(event)
