"""The choice of the model: searchable, with sizes, and with the reason where a model cannot be used."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QAbstractListModel, QModelIndex, QPersistentModelIndex, Qt, Signal
from PySide6.QtWidgets import QComboBox, QCompleter, QLineEdit, QListView, QWidget

from launchdeck.ui.kit.format import gib_with_unit
from launchdeck.ui.kit.i18n import tr
from launchdeck.ui.kit.trailing_combo import TRAILING_ROLE, TrailingCombo, TrailingDelegate

if TYPE_CHECKING:
    from launchdeck.domain.model import ModelInfo

_PATH_ROLE = Qt.ItemDataRole.UserRole + 1
_Index = QModelIndex | QPersistentModelIndex


class ModelCombo(TrailingCombo):
    """Type to search anywhere in the names. What is typed and matches nothing goes back to the chosen model."""

    chosen = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(tr("Model"), parent)
        self._models: tuple[ModelInfo, ...] = ()
        self._current: ModelInfo | None = None
        self._wanted: Path | None = None  # chosen before it was found
        self._items = ModelList()
        self.setModel(self._items)
        self._edit = QLineEdit(self)
        self._found = QListView()
        self._found.setProperty("role", "popup")  # a window of its own: nothing is below it
        self.setLineEdit(self._edit)
        self.setCompleter(self._make_completer())
        self.setInsertPolicy(QComboBox.InsertPolicy.NoInsert)
        self.activated.connect(self._take)
        self._edit.editingFinished.connect(self._restore_name)
        self._edit.textEdited.connect(lambda _: self.set_trailing(""))  # the chosen model's size, not what is typed

    def set_models(self, models: tuple[ModelInfo, ...]) -> None:
        """Offer these; the chosen one stays if it is still there, and so does what is being typed.

        One that was to be chosen before it was found is chosen now.
        """
        if models == self._models:
            return
        typed = self._edit.text() if self._is_typing() else None
        current_path = self._wanted or (self._current.path if self._current else None)
        self._models = (*(m for m in models if not m.problem), *(m for m in models if m.problem))
        self._items.set_models(self._models)
        found = self._find(current_path)
        self._wanted = None if found else self._wanted
        self._current = found or self._first_usable()
        self._show_current()
        if typed is not None:
            self.setEditText(typed)

    def model_info(self) -> ModelInfo | None:
        """The chosen model."""
        return self._current

    def choose(self, path: Path) -> None:
        """Choose without telling anybody; a path that is not offered leaves nothing chosen until it is."""
        self._current = self._find(path)
        self._wanted = path if self._current is None else None
        self._show_current()
        if self._current is None:
            self.setEditText(path.name)

    def _make_completer(self) -> QCompleter:
        completer = QCompleter(self._items, self)
        completer.setFilterMode(Qt.MatchFlag.MatchContains)
        completer.setCaseSensitivity(Qt.CaseSensitivity.CaseInsensitive)
        completer.setPopup(self._found)
        self._found.setItemDelegate(TrailingDelegate(self._found))  # a completer gives its list one of its own
        completer.activated[QModelIndex].connect(self._take_found)  # type: ignore[index] # stubs know no overloads
        return completer

    def _find(self, path: Path | None) -> ModelInfo | None:
        return next((model for model in self._models if model.path == path), None)

    def _first_usable(self) -> ModelInfo | None:
        return next((model for model in self._models if not model.problem), None)

    def _take(self, place: int) -> None:
        self._wanted = None
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


class ModelList(QAbstractListModel):
    """The models as a list; one that cannot be used is there, with the reason, and cannot be chosen."""

    def __init__(self) -> None:
        super().__init__()
        self._models: tuple[ModelInfo, ...] = ()

    def set_models(self, models: tuple[ModelInfo, ...]) -> None:
        self.beginResetModel()
        self._models = models
        self.endResetModel()

    def rowCount(self, parent: _Index = QModelIndex()) -> int:  # noqa: B008 (Qt's signature)
        return 0 if parent.isValid() else len(self._models)

    def flags(self, index: _Index) -> Qt.ItemFlag:
        if not index.isValid():
            return Qt.ItemFlag.NoItemFlags
        usable = self._models[index.row()].problem is None
        return Qt.ItemFlag.ItemIsSelectable | Qt.ItemFlag.ItemIsEnabled if usable else Qt.ItemFlag.NoItemFlags

    def data(self, index: _Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if not index.isValid():
            return None
        model = self._models[index.row()]
        match role:
            case Qt.ItemDataRole.DisplayRole | Qt.ItemDataRole.EditRole:
                return model.name
            case Qt.ItemDataRole.ToolTipRole:
                return tr(model.problem) if model.problem else str(model.path)
            case Qt.ItemDataRole.AccessibleTextRole:
                return f"{model.name}: {tr(model.problem)}" if model.problem else model.name
            case _ if role == TRAILING_ROLE:
                return gib_with_unit(model.size_bytes)
            case _ if role == _PATH_ROLE:
                return str(model.path)
        return None
