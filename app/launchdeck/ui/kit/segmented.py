"""A choice of a few, all visible: exclusive buttons in one frame."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QAbstractButton, QButtonGroup, QFrame, QHBoxLayout, QPushButton, QSizePolicy, QWidget

if TYPE_CHECKING:
    from collections.abc import Sequence


class Segmented(QFrame):
    """Shows `options`, pairs of a value and its (translated) label; the first is chosen at first.

    `changed` carries the value when the user has chosen another one. Arrow keys move within.
    """

    changed = Signal(object)

    def __init__(self, options: Sequence[tuple[object, str]], name: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setAccessibleName(name)
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        self._values = [value for value, _ in options]
        self._buttons = QButtonGroup(self)
        row = QHBoxLayout(self)
        row.setContentsMargins(1, 1, 1, 1)
        row.setSpacing(0)
        for place, (_, label) in enumerate(options):
            button = QPushButton(label, self, checkable=True)
            button.setAccessibleName(f"{name}: {label}")
            button.setFocusPolicy(Qt.FocusPolicy.ClickFocus)
            button.setProperty("place", {0: "first", len(options) - 1: "last"}.get(place, "middle"))
            self._buttons.addButton(button, place)
            row.addWidget(button)
        self._buttons.buttonToggled.connect(_stop_tab_at_chosen)
        self._buttons.button(0).setChecked(True)
        self._buttons.idClicked.connect(lambda place: self.changed.emit(self._values[place]))

    def value(self) -> object:
        """The chosen value, None where none is."""
        return self._values[self._buttons.checkedId()] if self._buttons.checkedButton() else None

    def set_value(self, value: object) -> None:
        """Choose without telling anybody. A value that is not among the options: choose none."""
        if value in self._values:
            self._buttons.button(self._values.index(value)).setChecked(True)
        elif chosen := self._buttons.checkedButton():
            self._buttons.setExclusive(False)
            chosen.setChecked(False)
            self._buttons.setExclusive(True)
            chosen.setFocusPolicy(Qt.FocusPolicy.StrongFocus)  # the tab key still finds the choice

    def set_option_enabled(self, value: object, *, enabled: bool, reason: str = "") -> None:
        """Grey out an option, with the reason as its tooltip."""
        button = self._buttons.button(self._values.index(value))
        button.setEnabled(enabled)
        button.setToolTip("" if enabled else reason)


def _stop_tab_at_chosen(button: QAbstractButton, chosen: bool) -> None:  # noqa: FBT001 (a signal's argument)
    """The whole choice is one stop of the tab key; the arrows lead on from there."""
    button.setFocusPolicy(Qt.FocusPolicy.StrongFocus if chosen else Qt.FocusPolicy.ClickFocus)
