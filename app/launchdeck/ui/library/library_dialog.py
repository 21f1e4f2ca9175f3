"""The library of models: search, sort, see what has room and what is broken, take one into the form."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QModelIndex, Qt, Signal
from PySide6.QtWidgets import (
    QAbstractItemView,
    QDialog,
    QDialogButtonBox,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QLineEdit,
    QPushButton,
    QTableView,
    QVBoxLayout,
    QWidget,
)

from launchdeck.ui.kit.i18n import tr
from launchdeck.ui.library.library_model import Column, LibraryModel

if TYPE_CHECKING:
    from launchdeck.domain.gpu import Inventory
    from launchdeck.domain.model import ModelInfo

_SIZE_PX = (860, 520)
_COLUMN_PX = {Column.NAME: 330, Column.SIZE: 80, Column.ARCHITECTURE: 120, Column.QUANTISATION: 90}


class LibraryDialog(QDialog):
    """`chosen` carries the path of the model that is to go into the form."""

    chosen = Signal(object)
    add_folder_requested = Signal()
    download_requested = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle(tr("Model library"))
        self._models = LibraryModel(self)
        self.search = QLineEdit(placeholderText=tr("Search by name, architecture, type or folder"))
        self.search.setAccessibleName(tr("Search in the library"))
        self.search.setClearButtonEnabled(True)
        self.table = self._make_table()
        self._count = QLabel()
        self._count.setProperty("role", "muted")
        self.reason = QLabel(wordWrap=True)
        self.reason.setProperty("state", "bad")
        self.reason.setTextFormat(Qt.TextFormat.PlainText)
        self._take = QPushButton(tr("Use this model"), clicked=self._choose)
        self._take.setProperty("kind", "primary")
        self._take.setDefault(True)
        self.search.textChanged.connect(self._search)
        self._models.modelReset.connect(self._count_rows)
        self.table.doubleClicked.connect(self._choose)
        self.table.selectionModel().currentRowChanged.connect(lambda *_: self._enable())
        self._lay_out()
        self._count_rows()

    def set_models(self, models: tuple[ModelInfo, ...]) -> None:
        """List these; the current one stays current."""
        current = self.current()
        self._models.set_models(models)
        self._select(current)

    def set_inventory(self, inventory: Inventory) -> None:
        """The machine that the models are to have room on."""
        current = self.current()
        self._models.set_inventory(inventory)
        self._select(current)

    def current(self) -> ModelInfo | None:
        """The model of the current row."""
        index = self.table.currentIndex()
        return self._models.model_at(index.row()) if index.isValid() else None

    def _search(self, text: str) -> None:
        current = self.current()
        self._models.search(text)
        self._select(current)

    def _select(self, model: ModelInfo | None) -> None:
        """That one if it is still listed, else the first."""
        row = self._models.row_of(model.path) if model else None
        if self._models.rowCount():
            self.table.setCurrentIndex(self._models.index(row or 0, 0))
        self._enable()

    def _enable(self) -> None:
        model = self.current()
        self._take.setEnabled(model is not None and model.problem is None)
        self.reason.setText(f"▲ {tr(model.problem)}" if model and model.problem else "")
        self.reason.setVisible(bool(self.reason.text()))

    def _choose(self, _index: QModelIndex | None = None) -> None:
        model = self.current()
        if model is not None and model.problem is None:
            self.chosen.emit(model.path)
            self.accept()

    def _count_rows(self) -> None:
        self._count.setText(tr("Models: {count}", count=self._models.rowCount()))

    def _make_table(self) -> QTableView:
        table = QTableView()
        table.setModel(self._models)
        table.setAccessibleName(tr("Model library"))
        table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        table.setTabKeyNavigation(False)
        table.setShowGrid(False)
        table.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        table.verticalHeader().hide()
        table.verticalHeader().setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        table.horizontalHeader().setStretchLastSection(True)
        for column, width_px in _COLUMN_PX.items():
            table.setColumnWidth(column, width_px)
        table.sortByColumn(Column.NAME, Qt.SortOrder.AscendingOrder)
        table.setSortingEnabled(True)
        return table

    def _lay_out(self) -> None:
        note = QLabel(tr("Estimated from file size; the form tells it exactly."), wordWrap=True)
        note.setProperty("role", "small")
        buttons = QDialogButtonBox()
        buttons.addButton(self._take, QDialogButtonBox.ButtonRole.ActionRole)
        buttons.addButton(tr("Close"), QDialogButtonBox.ButtonRole.RejectRole)
        buttons.rejected.connect(self.reject)
        add = QPushButton(tr("Add a folder …"))
        add.clicked.connect(self.add_folder_requested)
        add.setAutoDefault(False)
        download = QPushButton(tr("Download …"))
        download.clicked.connect(self.download_requested)
        download.setAutoDefault(False)
        bottom = QHBoxLayout()
        bottom.addWidget(add)
        bottom.addWidget(download)
        bottom.addWidget(self._count)
        bottom.addStretch(1)
        bottom.addWidget(buttons)
        layout = QVBoxLayout(self)
        for part in (self.search, self.table, self.reason, note):
            layout.addWidget(part)
        layout.addLayout(bottom)
        self.resize(*_SIZE_PX)
