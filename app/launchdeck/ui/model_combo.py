"""The choice of the model: searchable, with sizes, and with the reason where a model cannot be used."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QModelIndex, Qt, Signal
from PySide6.QtGui import QStandardItem, QStandardItemModel
from PySide6.QtWidgets import QComboBox, QCompleter, QLineEdit, QListView, QWidget

from launchdeck.ui.format import gib_with_unit
from launchdeck.ui.i18n import tr
from launchdeck.ui.trailing_combo import TRAILING_ROLE, TrailingCombo, TrailingDelegate

if TYPE_CHECKING:
    from launchdeck.domain.model import ModelInfo

_PATH_ROLE = Qt.ItemDataRole.UserRole + 1


class ModelCombo(TrailingCombo):
    """Type to search anywhere in the names. What is typed and matches nothing goes back to the chosen model."""

    chosen = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(tr("Model"), parent)
        self._models: tuple[ModelInfo, ...] = ()
        self._current: ModelInfo | None = None
        self._items = QStandardItemModel(self)
        self.setModel(self._items)
        self._edit = QLineEdit(self)
        self._found = QListView()
        self._found.setItemDelegate(TrailingDelegate(self._found))
        self.setLineEdit(self._edit)
        self.setCompleter(self._make_completer())
        self.setInsertPolicy(QComboBox.InsertPolicy.NoInsert)
        self.activated.connect(self._take)
        self._edit.editingFinished.connect(self._restore_name)

    def set_models(self, models: tuple[ModelInfo, ...]) -> None:
        """Offer these; the chosen one stays if it is still there, and so does what is being typed."""
        if models == self._models:
            return
        typed = self._edit.text() if self._is_typing() else None
        current_path = self._current.path if self._current else None
        self._models = (*(m for m in models if not m.problem), *(m for m in models if m.problem))
        self._items.clear()
        for model in self._models:
            self._items.appendRow(_item(model))
        self._current = next((m for m in self._models if m.path == current_path), None) or self._first_usable()
        self._show_current()
        if typed is not None:
            self.setEditText(typed)

    def model_info(self) -> ModelInfo | None:
        """The chosen model."""
        return self._current

    def choose(self, path: Path) -> None:
        """Choose without telling anybody; a path that is not offered leaves nothing chosen."""
        self._current = next((model for model in self._models if model.path == path), None)
        self._show_current()
        if self._current is None:
            self.setEditText(path.name)

    def _make_completer(self) -> QCompleter:
        completer = QCompleter(self._items, self)
        completer.setFilterMode(Qt.MatchFlag.MatchContains)
        completer.setCaseSensitivity(Qt.CaseSensitivity.CaseInsensitive)
        completer.setPopup(self._found)
        completer.activated[QModelIndex].connect(self._take_found)  # type: ignore[index] # stubs know no overloads
        return completer

    def _first_usable(self) -> ModelInfo | None:
        return next((model for model in self._models if not model.problem), None)

    def _take(self, place: int) -> None:
        self._current = self._models[place]
        self._show_current()
        self.chosen.emit()

    def _take_found(self, found: QModelIndex) -> None:
        self._take(next(place for place, model in enumerate(self._models) if str(model.path) == found.data(_PATH_ROLE)))

    def _restore_name(self) -> None:
        if self._current and not self._found.isVisible():
            self._show_current()

    def _show_current(self) -> None:
        model = self._current
        self.setCurrentIndex(-1 if model is None else self._models.index(model))
        self.setEditText("" if model is None else model.name)
        self._edit.setCursorPosition(0)
        self.set_trailing("" if model is None else gib_with_unit(model.size_bytes))
        self.setToolTip("" if model is None else str(model.path))

    def _is_typing(self) -> bool:
        return self._edit.hasFocus() and self._edit.isModified()


def _item(model: ModelInfo) -> QStandardItem:
    item = QStandardItem(model.name)
    item.setData(gib_with_unit(model.size_bytes), TRAILING_ROLE)
    item.setData(str(model.path), _PATH_ROLE)
    item.setToolTip(tr(model.problem) if model.problem else str(model.path))
    item.setEnabled(model.problem is None)
    if model.problem:
        item.setData(f"{model.name}: {tr(model.problem)}", Qt.ItemDataRole.AccessibleTextRole)
    return item
