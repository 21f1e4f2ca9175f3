"""Lets the wheel scroll a form instead of changing the field that happens to be under the mouse."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QObject, Qt
from PySide6.QtWidgets import QComboBox, QWidget


class WheelGuard(QObject):
    """One for a form; `watch` every field that the wheel would change. A number with the focus is changed by it, a
    closed list never is: the pointer is over it by chance, and what it would come to is not seen before.
    """

    def watch(self, field: QWidget) -> None:
        field.setFocusPolicy(Qt.FocusPolicy.StrongFocus)  # Qt's default would give it the focus by the wheel
        field.installEventFilter(self)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() == QEvent.Type.Wheel and isinstance(watched, QWidget) and not _takes_wheel(watched):
            event.ignore()
            return True
        return super().eventFilter(watched, event)


def _takes_wheel(field: QWidget) -> bool:
    return field.hasFocus() and not isinstance(field, QComboBox)
