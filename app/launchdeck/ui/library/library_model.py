"""The library as a Qt table, searched and sorted in Python: ten thousand rows in a few milliseconds."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QAbstractTableModel, QModelIndex, QObject, QPersistentModelIndex, Qt

from launchdeck.domain.text import Message
from launchdeck.ui.kit.format import gib
from launchdeck.ui.kit.i18n import tr
from launchdeck.ui.library.reach import Reach, reach

if TYPE_CHECKING:
    from pathlib import Path

    from launchdeck.domain.gpu import Inventory
    from launchdeck.domain.model import ModelInfo

NOT_TOLD = "—"
_RIGHT = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
_LEFT = Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter
_Index = QModelIndex | QPersistentModelIndex


class Column(IntEnum):
    NAME = 0
    SIZE = 1
    ARCHITECTURE = 2
    QUANTISATION = 3
    FITS = 4


_TITLES = {
    Column.NAME: Message("Name"),
    Column.SIZE: Message("GiB"),
    Column.ARCHITECTURE: Message("Architecture"),
    Column.QUANTISATION: Message("Type"),
    Column.FITS: Message("Fits"),
}
REACH_WORDS = {
    Reach.ONE_GPU: Message("✓ On one GPU"),
    Reach.ALL_GPUS: Message("✓ On all GPUs together"),
    Reach.WITH_RAM: Message("– With the RAM"),
    Reach.TOO_BIG: Message("▲ Too big"),
}


class LibraryModel(QAbstractTableModel):
    """Rows are the models that match the search, in the order asked for; a broken one tells its reason."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._models: tuple[ModelInfo, ...] = ()
        self._rows: list[ModelInfo] = []
        self._inventory: Inventory | None = None
        self._words: list[str] = []
        self._column = Column.NAME
        self._descending = False

    def set_models(self, models: tuple[ModelInfo, ...]) -> None:
        """Show these."""
        self._models = models
        self._arrange()

    def set_inventory(self, inventory: Inventory) -> None:
        """The machine that the models are to have room on."""
        self._inventory = inventory
        self._arrange()

    def search(self, text: str) -> None:
        """Show only models with all of these words in their name, architecture, type or path."""
        self._words = text.casefold().split()
        self._arrange()

    def model_at(self, row: int) -> ModelInfo:
        return self._rows[row]

    def row_of(self, path: Path) -> int | None:
        return next((row for row, model in enumerate(self._rows) if model.path == path), None)

    def _arrange(self) -> None:
        self.beginResetModel()
        self._rows = [model for model in self._models if self._matches(model)]
        self._rows.sort(key=self._sort_key, reverse=self._descending)
        self.endResetModel()

    def _matches(self, model: ModelInfo) -> bool:
        if not self._words:
            return True
        told = " ".join(filter(None, (model.name, model.architecture, model.quantisation, str(model.path)))).casefold()
        return all(word in told for word in self._words)

    def _sort_key(self, model: ModelInfo) -> tuple[Any, str]:
        name = model.name.casefold()
        keys: dict[Column, Any] = {
            Column.NAME: name,
            Column.SIZE: model.size_bytes,
            Column.ARCHITECTURE: model.architecture or "",
            Column.QUANTISATION: model.quantisation or "",
            Column.FITS: self._reach(model),
        }
        return keys[self._column], name

    def _reach(self, model: ModelInfo) -> int:
        """A broken model comes last."""
        if model.problem is not None or self._inventory is None:
            return len(Reach)
        return reach(model.size_bytes, self._inventory)

    # Qt's side

    def rowCount(self, parent: _Index = QModelIndex()) -> int:  # noqa: B008 (Qt's signature)
        return 0 if parent.isValid() else len(self._rows)

    def columnCount(self, parent: _Index = QModelIndex()) -> int:  # noqa: B008
        return 0 if parent.isValid() else len(Column)

    def sort(self, column: int, order: Qt.SortOrder = Qt.SortOrder.AscendingOrder) -> None:
        if column in set(Column):
            self._column, self._descending = Column(column), order is Qt.SortOrder.DescendingOrder
            self._arrange()

    def data(self, index: _Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if not index.isValid():
            return None
        model, column = self._rows[index.row()], Column(index.column())
        match role:
            case Qt.ItemDataRole.DisplayRole:
                return self._text(model, column)
            case Qt.ItemDataRole.ToolTipRole:
                return _tooltip(model)
            case Qt.ItemDataRole.TextAlignmentRole:
                return _RIGHT if column is Column.SIZE else _LEFT
        return None

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if orientation is not Qt.Orientation.Horizontal or section not in set(Column):
            return None
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return _RIGHT if section == Column.SIZE else _LEFT
        return tr(_TITLES[Column(section)]) if role == Qt.ItemDataRole.DisplayRole else None

    def _text(self, model: ModelInfo, column: Column) -> str:
        match column:
            case Column.NAME:
                return model.name
            case Column.SIZE:
                return gib(model.size_bytes, 2)
            case Column.ARCHITECTURE:
                return model.architecture or NOT_TOLD
            case Column.QUANTISATION:
                return model.quantisation or NOT_TOLD
        if model.problem is not None:
            return tr("▲ Cannot be used: {reason}", reason=model.problem)
        return NOT_TOLD if self._inventory is None else tr(REACH_WORDS[reach(model.size_bytes, self._inventory)])


def _tooltip(model: ModelInfo) -> str:
    lines = [str(model.path)]
    if model.problem is not None:
        lines.append(tr(model.problem))
    if model.projector is not None:
        lines.append(tr("Projector for images: {file}", file=model.projector))
    return "\n".join(lines)
