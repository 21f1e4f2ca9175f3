"""What few launches need: a name of one's own, and the types of the KV cache."""

from __future__ import annotations

from PySide6.QtCore import QSignalBlocker, Signal
from PySide6.QtWidgets import QComboBox, QFormLayout, QLineEdit, QWidget

from launchdeck.engines.llama_argv import CACHE_TYPES
from launchdeck.ui.i18n import tr

DEFAULT_CACHE_TYPE = "f16"


class MoreSettings(QWidget):
    """The fields of a ModelLoadRequest that keep their defaults for most people."""

    chosen = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.name = QLineEdit()
        self.name.setAccessibleName(tr("Name of the deployment"))
        self.cache_type_k = _cache_combo(tr("Type of the KV cache's keys"))
        self.cache_type_v = _cache_combo(tr("Type of the KV cache's values"))
        form = QFormLayout(self)
        form.setContentsMargins(0, 4, 0, 0)
        form.setHorizontalSpacing(12)
        form.setVerticalSpacing(8)
        for label, field in (
            (tr("Name"), self.name),
            (tr("KV cache, keys"), self.cache_type_k),
            (tr("KV cache, values"), self.cache_type_v),
        ):
            form.addRow(label, field)
            form.labelForField(field).setProperty("role", "muted")
        self.name.textEdited.connect(lambda _: self.chosen.emit())
        for combo in (self.cache_type_k, self.cache_type_v):
            combo.activated.connect(lambda _: self.chosen.emit())

    def set_values(self, name: str | None, cache_type_k: str, cache_type_v: str) -> None:
        """As in a request; tells nobody."""
        with QSignalBlocker(self):
            self.name.setText(name or "")
            self.cache_type_k.setCurrentText(cache_type_k)
            self.cache_type_v.setCurrentText(cache_type_v)


def _cache_combo(name: str) -> QComboBox:
    combo = QComboBox()
    combo.addItems(CACHE_TYPES)
    combo.setCurrentText(DEFAULT_CACHE_TYPE)
    combo.setAccessibleName(name)
    return combo
