"""The question that Quit asks while models run."""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QCheckBox, QMessageBox, QWidget

from launchdeck.ui.kit.i18n import tr


class QuitDialog(QMessageBox):
    """`answered` carries "keep" or "stop" and whether to remember it; closing the dialog is Cancel and says nothing."""

    answered = Signal(str, bool)

    def __init__(self, running: int, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setIcon(QMessageBox.Icon.Question)
        self.setWindowTitle(tr("Quit Launchdeck"))
        self.setText(tr("Models running: {count}", count=running))
        self.setInformativeText(
            tr("They can go on serving without the window. The next start of Launchdeck shows them again.")
        )
        remember = QCheckBox(tr("Do not ask again"))
        self.setCheckBox(remember)
        keep = self.addButton(tr("Keep serving"), QMessageBox.ButtonRole.AcceptRole)
        stop = self.addButton(tr("Stop all"), QMessageBox.ButtonRole.DestructiveRole)
        cancel = self.addButton(tr("Cancel"), QMessageBox.ButtonRole.RejectRole)
        self.setDefaultButton(keep)
        self.setEscapeButton(cancel)
        keep.clicked.connect(lambda: self.answered.emit("keep", remember.isChecked()))
        stop.clicked.connect(lambda: self.answered.emit("stop", remember.isChecked()))
