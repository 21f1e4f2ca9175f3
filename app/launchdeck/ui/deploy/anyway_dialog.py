"""The question before a launch that does not fit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QMessageBox, QWidget

from launchdeck.ui.kit.i18n import tr

if TYPE_CHECKING:
    from launchdeck.domain.errors import Failure


class AnywayDialog(QMessageBox):
    """`confirmed`: it is to be started all the same. Closing the dialog is Cancel and says nothing."""

    confirmed = Signal()

    def __init__(self, refusal: Failure, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setIcon(QMessageBox.Icon.Warning)
        self.setWindowTitle(tr("Deploy anyway"))
        self.setText(tr(refusal.message))
        self.setInformativeText(tr("It may fail while it loads, or take memory from what runs there already."))
        anyway = self.addButton(tr("Deploy anyway"), QMessageBox.ButtonRole.DestructiveRole)
        cancel = self.addButton(tr("Cancel"), QMessageBox.ButtonRole.RejectRole)
        self.setDefaultButton(cancel)
        self.setEscapeButton(cancel)
        anyway.clicked.connect(self.confirmed)
