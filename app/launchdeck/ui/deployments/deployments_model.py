"""The deployments as a Qt table: words and numbers only, the painting is the delegate's."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QAbstractTableModel, QModelIndex, QObject, QPersistentModelIndex, Qt

from launchdeck.domain.deployment import State
from launchdeck.ui.kit import deployment_text as words
from launchdeck.ui.kit.format import count, gib
from launchdeck.ui.kit.i18n import tr

if TYPE_CHECKING:
    from launchdeck.domain.deployment import Deployment

SORT_ROLE = Qt.ItemDataRole.UserRole + 1
DEPLOYMENT_ROLE = Qt.ItemDataRole.UserRole + 2
NOT_TOLD = "—"

_RIGHT = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
_LEFT = Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter
_Index = QModelIndex | QPersistentModelIndex


class Column(IntEnum):
    """From left to right. A sentence in the place of the state takes the columns at its right, which say least of what
    has failed: where it was to run stands before it.
    """

    NAME = 0
    GPU = 1
    LAYERS = 2
    STATE = 3
    ENGINE = 4
    CONTEXT = 5
    VRAM = 6
    SPEED = 7
    ACTIONS = 8


_NUMBERS = frozenset({Column.LAYERS, Column.CONTEXT, Column.VRAM, Column.SPEED})


@dataclass(slots=True)
class _Row:
    deployment: Deployment
    tokens_per_s: float | None = None


class DeploymentsModel(QAbstractTableModel):
    """One row a deployment, oldest first. Only rows that changed are announced."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._rows: list[_Row] = []

    def set_deployments(self, deployments: tuple[Deployment, ...]) -> None:
        """Show exactly these. Rows that stay are kept in place, so the selection stays too."""
        wanted = {deployment.id for deployment in deployments}
        for row in reversed(range(len(self._rows))):
            if self._rows[row].deployment.id not in wanted:
                self.beginRemoveRows(QModelIndex(), row, row)
                del self._rows[row]
                self.endRemoveRows()
        for deployment in deployments:
            self.update(deployment)

    def update(self, deployment: Deployment) -> None:
        """Show this state of a deployment; an unknown one becomes the last row."""
        row = self.row_of(deployment.id)
        if row is None:
            row = len(self._rows)
            self.beginInsertRows(QModelIndex(), row, row)
            self._rows.append(_Row(deployment))
            self.endInsertRows()
        elif self._rows[row].deployment != deployment:
            self._rows[row].deployment = deployment
            self._announce(row)

    def set_speed(self, deployment_id: str, tokens_per_s: float) -> None:
        """Show the speed last measured; a deployment that is gone meanwhile is none to show it for."""
        row = self.row_of(deployment_id)
        if row is not None:
            self._rows[row].tokens_per_s = tokens_per_s
            self._announce(row)

    def row_of(self, deployment_id: str) -> int | None:
        return next((row for row, item in enumerate(self._rows) if item.deployment.id == deployment_id), None)

    def deployment(self, row: int) -> Deployment:
        return self._rows[row].deployment

    def _announce(self, row: int) -> None:
        """The whole row: every cell also hands out the deployment itself."""
        self.dataChanged.emit(self.index(row, 0), self.index(row, len(Column) - 1))

    # Qt's side

    def rowCount(self, parent: _Index = QModelIndex()) -> int:  # noqa: B008 (Qt's signature)
        return 0 if parent.isValid() else len(self._rows)

    def columnCount(self, parent: _Index = QModelIndex()) -> int:  # noqa: B008
        return 0 if parent.isValid() else len(Column)

    def data(self, index: _Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if not index.isValid():
            return None
        row, column = self._rows[index.row()], Column(index.column())
        match role:
            case Qt.ItemDataRole.DisplayRole:
                return self._text(row, column)
            case Qt.ItemDataRole.ToolTipRole:
                return self._tooltip(row.deployment, column)
            case Qt.ItemDataRole.AccessibleTextRole:
                return f"{self.headerData(column, Qt.Orientation.Horizontal)}: {self._text(row, column)}"
            case Qt.ItemDataRole.TextAlignmentRole:
                return _RIGHT if column in _NUMBERS else _LEFT
            case _ if role == SORT_ROLE:
                return self._sort_key(row, column)
            case _ if role == DEPLOYMENT_ROLE:
                return row.deployment
        return None

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if orientation is not Qt.Orientation.Horizontal or not 0 <= section < len(Column):
            return None
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return _RIGHT if Column(section) in _NUMBERS - {Column.VRAM} else _LEFT  # its cells begin with a bar
        if role != Qt.ItemDataRole.DisplayRole:
            return None
        titles = {
            Column.NAME: tr("Deployment"),
            Column.STATE: tr("State"),
            Column.ENGINE: tr("Engine"),
            Column.GPU: "GPU",
            Column.LAYERS: tr("Layers"),
            Column.CONTEXT: tr("Context"),
            Column.VRAM: "VRAM GiB",
            Column.SPEED: "tok/s",
            Column.ACTIONS: "",
        }
        return titles[Column(section)]

    def _text(self, row: _Row, column: Column) -> str:
        deployment = row.deployment
        plan = deployment.plan
        match column:
            case Column.NAME:
                return plan.model_id
            case Column.STATE:
                return self._state_text(deployment)
            case Column.ENGINE:
                return f"{words.engine_word(plan.engine.kind)} :{plan.port}"
            case Column.GPU:
                return words.devices_text(deployment)
            case Column.LAYERS:
                return words.layers_text(deployment)
            case Column.CONTEXT:
                return count(plan.n_ctx)
            case Column.VRAM:
                return self._vram_text(deployment)
            case Column.SPEED:
                return NOT_TOLD if row.tokens_per_s is None else f"{row.tokens_per_s:.0f}"
            case Column.ACTIONS:
                return ""

    @staticmethod
    def _state_text(deployment: Deployment) -> str:
        if deployment.state is State.LOADING and deployment.progress is not None:
            return f"{deployment.progress * 100:.0f} %"
        return words.state_sentence(deployment)

    @staticmethod
    def _vram_text(deployment: Deployment) -> str:
        if not deployment.plan.estimate.devices:
            return NOT_TOLD
        measured = NOT_TOLD if deployment.vram_bytes is None else gib(deployment.vram_bytes)
        return f"{measured} / {gib(words.predicted_bytes(deployment.plan))}"

    @staticmethod
    def _tooltip(deployment: Deployment, column: Column) -> str | None:
        match column:
            case Column.STATE if deployment.failure:
                failure = deployment.failure
                return "\n".join(tr(part) for part in (failure.message, failure.advice) if part)
            case Column.STATE:
                return deployment.stage or words.state_sentence(deployment)
            case Column.LAYERS if words.layers_differ(deployment):
                return tr(
                    "{asked} layers were asked for, the engine applied {applied}",
                    asked=deployment.plan.layers.resolved,
                    applied=words.applied_layers(deployment),
                )
            case Column.GPU:
                return words.devices_in_full(deployment)
            case Column.VRAM:
                return tr("Measured / predicted")
            case Column.NAME:
                return f"{deployment.plan.model_id}\n{deployment.plan.model.path}"
        return None

    def _sort_key(self, row: _Row, column: Column) -> Any:
        deployment = row.deployment
        match column:
            case Column.STATE:
                return list(State).index(deployment.state)
            case Column.LAYERS:
                return deployment.plan.layers.resolved
            case Column.CONTEXT:
                return deployment.plan.n_ctx
            case Column.VRAM:
                return float(deployment.vram_bytes or 0)  # a Python int beyond 32 bits would not compare in Qt
            case Column.SPEED:
                return row.tokens_per_s or 0.0
        return self._text(row, column).casefold()
