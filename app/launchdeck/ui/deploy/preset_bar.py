"""Named requests: choose one, save the form under a name, delete one."""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QComboBox, QHBoxLayout, QLineEdit, QPushButton, QWidget

from launchdeck.serving.requests.request_memory import LONGEST_NAME
from launchdeck.ui.kit.i18n import tr

_NARROWEST_PX = 70


class PresetBar(QWidget):
    """The field is both: the list of what there is, and the name to save under."""

    chosen = Signal(str)
    save_requested = Signal(str)
    delete_requested = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.combo = QComboBox()
        edit = QLineEdit(self.combo)
        edit.setMaxLength(LONGEST_NAME)
        edit.setPlaceholderText(tr("name"))
        self.combo.setLineEdit(edit)
        self.combo.setCompleter(None)  # type: ignore[arg-type] # a C++ null pointer: what is typed stays as it is
        self.combo.setInsertPolicy(QComboBox.InsertPolicy.NoInsert)
        self.combo.setAccessibleName(tr("Preset"))
        self.combo.setMinimumWidth(_NARROWEST_PX)
        self._save = QPushButton(tr("Save"), clicked=lambda: self.save_requested.emit(self.name()))
        self._save.setAccessibleName(tr("Save the form as this preset"))
        self._delete = QPushButton(tr("Delete"), clicked=lambda: self.delete_requested.emit(self.name()))
        self._delete.setAccessibleName(tr("Delete this preset"))
        for button in (self._save, self._delete):
            button.setToolTip(button.accessibleName())
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(6)
        row.addWidget(self.combo, 1)
        row.addWidget(self._save)
        row.addWidget(self._delete)
        self.combo.activated.connect(lambda _: self.chosen.emit(self.name()))
        edit.textChanged.connect(lambda _: self._enable())
        self.show_names((), "")

    def name(self) -> str:
        return self.combo.currentText().strip()

    def show_names(self, names: tuple[str, ...], current: str) -> None:
        """Offer these."""
        self.combo.clear()
        self.combo.addItems(names)
        self.combo.setCurrentIndex(self.combo.findText(current))
        self.combo.setEditText(current)
        self._enable()

    def _enable(self) -> None:
        self._save.setEnabled(bool(self.name()))
        self._delete.setEnabled(self.combo.findText(self.name()) >= 0)
