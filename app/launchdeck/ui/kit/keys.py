"""Keys for fields and buttons: named in the tooltip rather than underlined, the same in every language."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtGui import QKeySequence, QShortcut
from PySide6.QtWidgets import QAbstractButton, QWidget


def give_key(widget: QWidget, key: str, told_by: QWidget | None = None) -> None:
    """`key` ("Alt+M") clicks a button and goes to any other field; works in the widget's window while it is visible.

    The tooltip that tells the key is the widget's own, or that of `told_by`, its label.
    """
    if isinstance(widget, QAbstractButton):
        widget.setShortcut(QKeySequence(key))
    else:
        QShortcut(QKeySequence(key), widget, lambda: widget.setFocus(Qt.FocusReason.ShortcutFocusReason))
    teller = told_by or widget
    what = teller.toolTip() or widget.accessibleName() or (widget.text() if isinstance(widget, QAbstractButton) else "")
    teller.setToolTip(f"{what} ({key})")
