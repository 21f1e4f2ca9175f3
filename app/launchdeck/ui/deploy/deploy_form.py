"""The form of a launch, read from top to bottom: the fields, the verdict, the exact command, one button."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QEvent, QObject, QSize, Qt, Signal
from PySide6.QtGui import QKeySequence, QShortcut
from PySide6.QtWidgets import QFrame, QLabel, QPushButton, QScrollArea, QVBoxLayout, QWidget

from launchdeck.domain.errors import Fix, LaunchdeckError
from launchdeck.domain.plan import Verdict
from launchdeck.engines.document import command_line
from launchdeck.ui.deploy.command_view import CommandView
from launchdeck.ui.deploy.deploy_fields import DeployFields
from launchdeck.ui.deploy.estimate_panel import EstimatePanel
from launchdeck.ui.kit.disclosure import Disclosure
from launchdeck.ui.kit.format import gib
from launchdeck.ui.kit.i18n import tr
from launchdeck.ui.kit.wrapping_label import WrappingLabel

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from launchdeck.domain.gpu import Inventory
    from launchdeck.domain.model import ModelInfo
    from launchdeck.domain.plan import EngineInfo, LaunchPlan
    from launchdeck.domain.request import ModelLoadRequest
    from launchdeck.engines.advice import Preview
    from launchdeck.serving.requests.request_memory import RequestMemory


class DeployForm(QFrame):
    """Every change asks `preview` for the plan and shows what it says.

    `devices_shown` carries the keys of the devices that are chosen, whoever chose them.

    `preview` gives None while something is still being found out (call `refresh` then), and raises LaunchdeckError
    where the request cannot be carried out: the sentence stands where the verdict would, and the button is off.
    """

    devices_shown = Signal(object)
    deploy_requested = Signal(object)
    add_folder_requested = Signal()
    library_requested = Signal()
    engines_requested = Signal()
    failed = Signal(object)
    rested = Signal(object)

    def __init__(self, preview: Preview, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setProperty("role", "panel")
        self._preview = preview
        self._memory: RequestMemory | None = None
        self._offered: tuple[object, ...] = ()
        self._no_model = self._make_no_model()
        self._fields = DeployFields()
        self._fields.changed.connect(self.refresh)
        self._fields.devices_shown.connect(self.devices_shown)
        self._fields.library_requested.connect(self.library_requested)
        self._fields.engines_requested.connect(self.engines_requested)
        self._estimate = EstimatePanel(preview)
        self._estimate.fix_requested.connect(self._apply_fix)
        self._estimate.rested.connect(self.rested)
        self._estimate.engines_requested.connect(self.engines_requested)
        self._command = CommandView()
        self._obstacle = WrappingLabel("small")
        self._deploy = self._make_button()
        self._lay_out()
        self.setFocusProxy(self._fields)
        self.refresh()

    def use_memory(self, memory: RequestMemory) -> None:
        """Where the last request of each model and the presets are kept."""
        self._memory = memory
        self._fields.set_recall(memory.last)
        presets = self._fields.more.presets
        presets.show_names(memory.preset_names, "")
        presets.chosen.connect(lambda name: self.show_request(memory.preset(name)))
        presets.save_requested.connect(self._save_preset)
        presets.delete_requested.connect(self._delete_preset)

    def set_models(self, models: tuple[ModelInfo, ...]) -> None:
        """Offer these models. The chosen one stays chosen."""
        self._no_model.setVisible(not models)
        self._fields.set_models(models)
        self.refresh()

    def choose_model(self, path: Path) -> None:
        """Choose this model, one of those offered, and fill in how it was deployed the last time."""
        self._fields.choose_model(path)

    def set_inventory(self, inventory: Inventory) -> None:
        """Another reading of all devices: free memory moves, nothing that was chosen does.

        A plan costs more than all else that a reading changes in the window, so it is made again only where a device
        has come or gone or its free memory has moved as far as can be read here.
        """
        offered = _offered(inventory)
        if offered != self._offered:
            self._offered = offered
            self._fields.set_inventory(inventory)
            self.refresh()

    def set_rpc_workers(self, workers: tuple[str, ...]) -> None:
        """Offer these llama.cpp RPC workers besides the GPUs."""
        self._fields.set_rpc_workers(workers)
        self.refresh()

    def set_engines(self, engines: tuple[EngineInfo, ...]) -> None:
        """Offer these engines besides the automatic choice."""
        self._fields.set_engines(engines)
        self.refresh()

    def use_device(self, key: str, used: bool) -> None:  # noqa: FBT001 (a slot)
        """Take it that the user wants to use the device with this key, or not any more."""
        self._fields.use_device(key, used=used)

    def show_request(self, request: ModelLoadRequest) -> None:
        """Fill the form with a request, so that it can be looked at, changed and deployed."""
        self._fields.show_request(request)
        self.refresh()

    def request(self) -> ModelLoadRequest | None:
        """What the form asks for, None while no model is chosen."""
        return self._fields.request()

    def refresh(self) -> None:
        """Ask for the plan again and show it."""
        request = self.request()
        if request is None:
            self._show_waiting(tr("Choose a model."))
            return
        try:
            plan = self._preview(request)
        except LaunchdeckError as error:
            self._estimate.show_failure(error.failure)
            self._show_no_plan(tr("This cannot be deployed; the reason stands above."))
            return
        if plan is None:
            self._show_waiting(tr("Reading the model …"))
        elif self._fields.take_found_device(plan):
            self.refresh()
        else:
            self._show_plan(plan)

    def _show_plan(self, plan: LaunchPlan) -> None:
        self._fields.show_plan(plan)
        self._estimate.show_plan(plan)
        self._command.show_command(command_line(plan))
        self._name_button(is_forced=plan.verdict is Verdict.DOES_NOT_FIT and not plan.blocker)
        self._show_obstacle(tr("This cannot be deployed; the reason stands above.") if plan.blocker else "")

    def _show_waiting(self, text: str) -> None:
        self._estimate.show_waiting(text)
        self._show_no_plan(text)

    def _show_no_plan(self, obstacle: str) -> None:
        self._fields.show_plan(None)
        self._name_button(is_forced=False)
        self._command.show_command("")
        self._show_obstacle(obstacle)

    def _show_obstacle(self, obstacle: str) -> None:
        """The button works unless there is an obstacle; then that stands beside it."""
        self._deploy.setEnabled(not obstacle)
        self._deploy.setAccessibleDescription(obstacle)
        self._obstacle.setText(obstacle)
        self._obstacle.setVisible(bool(obstacle))

    def _request_deploy(self) -> None:
        request = self.request()
        if request is not None and self._deploy.isEnabled():
            self.deploy_requested.emit(request)

    def _save_preset(self, name: str) -> None:
        request = self.request()
        if request is not None:
            self._change_presets(lambda memory: memory.save_preset(name, request), name)

    def _delete_preset(self, name: str) -> None:
        self._change_presets(lambda memory: memory.delete_preset(name), "")

    def _change_presets(self, change: Callable[[RequestMemory], None], name: str) -> None:
        if self._memory is None:
            return
        try:
            change(self._memory)
        except LaunchdeckError as error:
            self.failed.emit(error.failure)
            return
        self._fields.more.presets.show_names(self._memory.preset_names, name)

    def _apply_fix(self, fix: Fix) -> None:
        request = self.request()
        if request is not None:
            changes: dict[str, Any] = dict(fix.changes)
            self._fields.show_request(replace(request, **changes), chosen=changes)
            self.refresh()

    def _make_button(self) -> QPushButton:
        button = QPushButton(clicked=self._request_deploy)
        button.setProperty("kind", "primary")
        for key in ("Ctrl+Return", "Ctrl+Enter"):
            shortcut = QShortcut(QKeySequence(key), self, self._request_deploy)
            shortcut.setContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
        return button

    def _name_button(self, *, is_forced: bool) -> None:
        """What does not fit is asked about once more, and the button says that it is another thing to press it."""
        name = tr("Deploy anyway") if is_forced else tr("Deploy")
        self._deploy.setText(f"{name}   Ctrl+Enter")
        self._deploy.setAccessibleName(name)

    def _make_no_model(self) -> QWidget:
        box = QWidget()
        text = QLabel(tr("No model was found. Choose a folder in which GGUF files lie."), wordWrap=True)
        text.setProperty("role", "muted")
        button = QPushButton(tr("Choose a folder …"))
        button.clicked.connect(self.add_folder_requested)
        column = QVBoxLayout(box)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(text)
        column.addWidget(button, 0, Qt.AlignmentFlag.AlignLeft)
        box.hide()
        return box

    def _lay_out(self) -> None:
        page = QWidget()
        page.setProperty("role", "page")
        column = QVBoxLayout(page)
        column.setContentsMargins(12, 12, 12, 4)
        column.setSpacing(10)
        more = Disclosure(tr("More settings: KV types, split, threads …"), self._fields.more, opened=False)
        for part in (self._no_model, self._fields, self._estimate, more, self._command):
            column.addWidget(part)
        column.addStretch(1)
        scroll = _FormScroll(page)
        bottom = QVBoxLayout()
        bottom.setContentsMargins(12, 6, 12, 12)
        bottom.addWidget(self._obstacle)
        bottom.addWidget(self._deploy)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(1, 1, 1, 1)
        outer.setSpacing(0)
        outer.addWidget(scroll, 1)
        outer.addLayout(bottom)


def _offered(inventory: Inventory) -> tuple[object, ...]:
    """What the form tells of the devices."""
    readings = (*inventory.gpus, inventory.cpu)
    memory = ((gib(r.sample.free_memory_bytes), gib(r.promised_bytes)) for r in readings)
    return (inventory.replayed, *((r.gpu, r.sample.state) for r in readings), *memory)


class _FormScroll(QScrollArea):
    """Scrolls up and down only: never narrower than the form in it."""

    def __init__(self, page: QWidget) -> None:
        super().__init__(widgetResizable=True)
        self._page = page
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setWidget(page)
        page.installEventFilter(self)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """What the form shows changes its width, and the column has to hear of it."""
        if watched is self._page and event.type() == QEvent.Type.LayoutRequest:
            self.updateGeometry()
        return super().eventFilter(watched, event)

    def minimumSizeHint(self) -> QSize:
        bar_px = self.verticalScrollBar().sizeHint().width()
        return QSize(self._page.minimumSizeHint().width() + bar_px, super().minimumSizeHint().height())
