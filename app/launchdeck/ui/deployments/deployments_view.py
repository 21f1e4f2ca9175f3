"""The table of deployments as people use it: mouse, keys, context menu, and what is shown when it is narrow."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QEvent, QModelIndex, QPoint, QSize, QSortFilterProxyModel, Qt, Signal
from PySide6.QtGui import QContextMenuEvent, QFontMetrics, QKeyEvent, QKeySequence, QResizeEvent
from PySide6.QtWidgets import QAbstractItemView, QFrame, QHeaderView, QLabel, QMenu, QTableView, QWidget

from launchdeck.domain.deployment import State
from launchdeck.ui.deployments.deployments_delegate import BUTTON_PX, PAD_PX, DeploymentsDelegate
from launchdeck.ui.deployments.deployments_model import DEPLOYMENT_ROLE, SORT_ROLE, Column, DeploymentsModel
from launchdeck.ui.deployments.row_actions import RowAction, action_text, actions_of, ending_action
from launchdeck.ui.kit.deployment_text import state_word
from launchdeck.ui.kit.fonts import text_font
from launchdeck.ui.kit.i18n import tr

if TYPE_CHECKING:
    from collections.abc import Container

    from launchdeck.domain.deployment import Deployment

_ROW_PX = 30
_USUAL_ROWS = 5
_MEMORY_BAR_PX = 32
_SLACK_PX = 2  # fonts have fractions of pixels
_LEFT_OUT_FIRST = (Column.SPEED, Column.ENGINE, Column.CONTEXT, Column.GPU, Column.LAYERS, Column.VRAM)
_SHORTEST_NAME_PX = 110


class DeploymentsView(QTableView):
    """Says what is wanted, with the deployment's id; `current_changed` carries the Deployment, or None."""

    open_requested = Signal(str)
    stop_requested = Signal(str)
    restart_requested = Signal(str)
    dismiss_requested = Signal(str)
    fix_requested = Signal(str, object)
    copy_url_requested = Signal(str)
    copy_key_requested = Signal(str)
    copy_command_requested = Signal(str)
    failure_requested = Signal(str)
    mark_requested = Signal(str, bool)
    current_changed = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._deployments = DeploymentsModel(self)
        self._spans: list[tuple[bool, bool]] = []
        self._marks: Container[str] = ()
        self._proxy = QSortFilterProxyModel(self)
        self._proxy.setSortRole(SORT_ROLE)
        self._proxy.setSourceModel(self._deployments)
        self._hint = self._make_hint()
        self._delegate = DeploymentsDelegate(self)
        self._delegate.action_triggered.connect(self._act)
        self._delegate.fix_triggered.connect(lambda deployment, fix: self.fix_requested.emit(deployment.id, fix))
        self.setModel(self._proxy)
        self.setItemDelegate(self._delegate)
        self.setAccessibleName(tr("Deployments"))
        self._arrange()
        for changed in (self._proxy.rowsInserted, self._proxy.rowsRemoved, self._proxy.layoutChanged):
            changed.connect(self._span_ended)
        self._proxy.dataChanged.connect(self._data_changed)
        self.doubleClicked.connect(self._double_clicked)
        self.selectionModel().currentRowChanged.connect(lambda *_: self.current_changed.emit(self.current()))

    def set_deployments(self, deployments: tuple[Deployment, ...]) -> None:
        """List exactly these. Where none was chosen, the newest is."""
        self._deployments.set_deployments(deployments)
        if deployments and self.current() is None:
            self.select(deployments[-1].id)

    def update_deployment(self, deployment: Deployment) -> None:
        """Show another moment of one deployment."""
        self._deployments.update(deployment)

    def show_marks(self, marks: Container[str]) -> None:
        """The names of the deployments that start with Launchdeck, as they are at any time."""
        self._marks = marks

    def set_speed(self, deployment_id: str, tokens_per_s: float) -> None:
        """Show the speed last measured."""
        self._deployments.set_speed(deployment_id, tokens_per_s)

    def current(self) -> Deployment | None:
        """The deployment of the current row."""
        index = self.currentIndex()
        return index.data(DEPLOYMENT_ROLE) if index.isValid() else None

    def select(self, deployment_id: str) -> None:
        """Make this deployment's row the current one, if it is listed."""
        row = self._deployments.row_of(deployment_id)
        if row is not None:
            self.setCurrentIndex(self._proxy.mapFromSource(self._deployments.index(row, 0)))

    # arrangement

    def _make_hint(self) -> QLabel:
        """In the place of the rows while there are none."""
        hint = QLabel(tr("No model deployed yet. Choose one at the right and press Deploy."), self, wordWrap=True)
        hint.setProperty("role", "muted")
        hint.setAlignment(Qt.AlignmentFlag.AlignCenter)
        hint.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        return hint

    def _arrange(self) -> None:
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setShowGrid(False)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setTabKeyNavigation(False)
        self.setMouseTracking(True)
        self.setWordWrap(False)
        self.setSortingEnabled(True)
        self.sortByColumn(-1, Qt.SortOrder.AscendingOrder)  # until a header is clicked: as they were started
        self.verticalHeader().hide()
        self.verticalHeader().setDefaultSectionSize(_ROW_PX)
        header = self.horizontalHeader()
        header.setHighlightSections(False)
        header.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        header.setSectionResizeMode(Column.NAME, QHeaderView.ResizeMode.Stretch)
        for column, width in _column_widths().items():
            self.setColumnWidth(column, width)

    def sizeHint(self) -> QSize:
        """Room for a handful of models."""
        return QSize(700, self.horizontalHeader().sizeHint().height() + _USUAL_ROWS * _ROW_PX)

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Leave out columns, least important first, until the name can be read; the details have them all.

        The event has the viewport's size. To ask for a widget that Qt has made itself, before the first frame, would
        have PySide make all subclasses of QWidget known to Python, which takes as long as the whole form.
        """
        widths = _column_widths()
        needed = sum(widths.values()) + _SHORTEST_NAME_PX
        for column in _LEFT_OUT_FIRST:
            too_wide = needed > event.size().width()
            self.setColumnHidden(column, too_wide)
            needed -= widths[column] if too_wide else 0
        super().resizeEvent(event)
        header_px = self.horizontalHeader().height()
        self._hint.setGeometry(PAD_PX, header_px, self.width() - 2 * PAD_PX, self.height() - header_px)

    def _data_changed(self, first: QModelIndex, last: QModelIndex) -> None:
        self._span_ended()
        if first.row() <= self.currentIndex().row() <= last.row():
            self.current_changed.emit(self.current())

    def _span_ended(self) -> None:
        """A sentence (of a failure, of a queue) takes the room of columns that mean little for it, the button that of
        the numbers.
        """
        self._hint.setVisible(not self._proxy.rowCount())
        shown: list[Deployment] = [
            self._proxy.index(row, 0).data(DEPLOYMENT_ROLE) for row in range(self._proxy.rowCount())
        ]
        spans = [(bool(each.failure or each.queued_because), not each.state.is_live) for each in shown]
        if spans == self._spans:
            return
        self._spans = spans
        self.clearSpans()
        for row, (is_sentence, ended) in enumerate(spans):
            if is_sentence:
                self.setSpan(row, Column.STATE, 1, Column.VRAM - Column.STATE)
            if ended:
                self.setSpan(row, Column.VRAM, 1, Column.ACTIONS - Column.VRAM)

    # keys, menu, mouse

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Delete stops or removes, Enter opens the menu, Ctrl+C copies the address."""
        deployment = self.current()
        if deployment and event.key() == Qt.Key.Key_Delete:
            self._act(deployment, ending_action(deployment))
        elif deployment and event.key() in {Qt.Key.Key_Return, Qt.Key.Key_Enter}:
            self._show_menu(deployment, self.visualRect(self.currentIndex()).bottomLeft())
        elif deployment and event.matches(QKeySequence.StandardKey.Copy):
            self._act(deployment, RowAction.COPY_URL)
        else:
            super().keyPressEvent(event)

    def contextMenuEvent(self, event: QContextMenuEvent) -> None:
        deployment = self.current()
        if deployment:
            by_keyboard = event.reason() is QContextMenuEvent.Reason.Keyboard
            place = self.visualRect(self.currentIndex()).bottomLeft() if by_keyboard else event.pos()
            self._show_menu(deployment, place)

    def _double_clicked(self, index: QModelIndex) -> None:
        deployment: Deployment = index.data(DEPLOYMENT_ROLE)
        if RowAction.SHOW_FAILURE in actions_of(deployment):
            self.failure_requested.emit(deployment.id)

    def leaveEvent(self, event: QEvent) -> None:
        self._delegate.forget_pointer()
        self.viewport().update()
        super().leaveEvent(event)

    def menu_for(self, deployment: Deployment) -> QMenu:
        """Everything that can be done with this deployment; the fixes of a failure first."""
        menu = QMenu(self)
        for fix in deployment.failure.fixes if deployment.failure else ():
            entry = menu.addAction(tr(fix.label))
            entry.triggered.connect(lambda _=False, fix=fix: self.fix_requested.emit(deployment.id, fix))
        menu.addSeparator()
        for action in actions_of(deployment):
            entry = menu.addAction(action_text(action))
            entry.triggered.connect(lambda _=False, action=action: self._act(deployment, action))
        menu.addSeparator()
        mark = menu.addAction(tr("Start with Launchdeck"))
        mark.setCheckable(True)
        mark.setChecked(deployment.plan.model_id in self._marks)
        mark.triggered.connect(lambda marked: self.mark_requested.emit(deployment.id, marked))
        return menu

    def _show_menu(self, deployment: Deployment, place: QPoint) -> None:
        menu = self.menu_for(deployment)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        menu.popup(self.viewport().mapToGlobal(place))

    def _act(self, deployment: Deployment, action: RowAction | None) -> None:
        if action is None:
            return
        wanted = {
            RowAction.OPEN: self.open_requested,
            RowAction.COPY_URL: self.copy_url_requested,
            RowAction.COPY_KEY: self.copy_key_requested,
            RowAction.COPY_COMMAND: self.copy_command_requested,
            RowAction.SHOW_FAILURE: self.failure_requested,
            RowAction.RESTART: self.restart_requested,
            RowAction.STOP: self.stop_requested,
            RowAction.DISMISS: self.dismiss_requested,
        }
        wanted[action].emit(deployment.id)


def _column_widths() -> dict[Column, int]:
    """Room for the longest usual text, so that nothing jumps when a value changes. The name takes the rest."""
    metrics = QFontMetrics(text_font())
    samples = {
        Column.ENGINE: "llama-server :88888",
        Column.GPU: "0+RPC",
        Column.LAYERS: "▲ 88/88",
        Column.CONTEXT: "888,888",
        Column.VRAM: "88.8 / 88.8",
        Column.SPEED: "tok/s",
    }
    widths = {column: metrics.horizontalAdvance(sample) + 2 * PAD_PX + _SLACK_PX for column, sample in samples.items()}
    widths[Column.VRAM] += _MEMORY_BAR_PX + PAD_PX
    widths[Column.STATE] = max(metrics.horizontalAdvance(state_word(state)) for state in State) + 2 * PAD_PX
    widths[Column.ACTIONS] = BUTTON_PX + 2
    return widths
