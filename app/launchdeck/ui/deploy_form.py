"""The form of a launch: what, for what, where, how much, with what; the verdict; the command; one button."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QKeySequence, QShortcut
from PySide6.QtWidgets import (
    QFormLayout,
    QFrame,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

from launchdeck.domain.errors import Fix, LaunchdeckError
from launchdeck.domain.model import ServerType
from launchdeck.domain.request import DEFAULT_SLOT_COUNT, ModelLoadRequest
from launchdeck.engines.checks import MAX_SLOTS
from launchdeck.engines.document import command_line
from launchdeck.ui.command_view import CommandView
from launchdeck.ui.context_combo import ContextCombo
from launchdeck.ui.device_combo import DeviceCombo, device_entries
from launchdeck.ui.disclosure import Disclosure
from launchdeck.ui.engine_combo import EngineCombo
from launchdeck.ui.estimate_panel import EstimatePanel
from launchdeck.ui.i18n import tr
from launchdeck.ui.keys import give_key
from launchdeck.ui.layers_field import LayersField
from launchdeck.ui.model_combo import ModelCombo
from launchdeck.ui.more_settings import MoreSettings
from launchdeck.ui.number_field import NumberField
from launchdeck.ui.segmented import Segmented
from launchdeck.ui.wheel_guard import WheelGuard

if TYPE_CHECKING:
    from launchdeck.domain.gpu import Inventory
    from launchdeck.domain.model import ModelInfo
    from launchdeck.domain.plan import EngineInfo, LaunchPlan
    from launchdeck.ui.verdict import Preview

_SHORTCUT = "Ctrl+Enter"


class DeployForm(QFrame):
    """Every change asks `preview` for the plan and shows what it says.

    `preview` gives None while something is still being found out (call `refresh` then), and raises LaunchdeckError
    where the request cannot be carried out: the sentence stands where the verdict would, and the button is off.
    """

    deploy_requested = Signal(object)
    add_folder_requested = Signal()

    def __init__(self, preview: Preview, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setProperty("role", "panel")
        self._preview = preview
        self._inventory: Inventory | None = None
        self._rpc_workers: tuple[str, ...] = ()
        self._device_is_wanted = False  # by the user, and not only found for him
        self._make_fields()
        self._estimate = EstimatePanel(preview)
        self._command = CommandView()
        self._no_model = self._make_no_model()
        self._blocked = QLabel(wordWrap=True)
        self._blocked.setProperty("role", "small")
        self._deploy = QPushButton(f"{tr('Deploy')}   {_SHORTCUT}", clicked=self._request_deploy)
        self._deploy.setProperty("kind", "primary")
        self._deploy.setAccessibleName(tr("Deploy"))
        for key in ("Ctrl+Return", "Ctrl+Enter"):
            QShortcut(
                QKeySequence(key), self, self._request_deploy, context=Qt.ShortcutContext.WidgetWithChildrenShortcut
            )
        self._connect()
        self._lay_out()
        self._model_changed()

    # what the form is filled with

    def set_models(self, models: tuple[ModelInfo, ...]) -> None:
        """Offer these models. The chosen one stays chosen."""
        before = self._model.model_info()
        self._model.set_models(models)
        self._no_model.setVisible(not models)
        if self._model.model_info() != before:
            self._model_changed()
        else:
            self.refresh()

    def set_inventory(self, inventory: Inventory) -> None:
        """Another reading of all devices: free memory moves, nothing that was chosen does."""
        self._inventory = inventory
        self._offer_devices()

    def set_rpc_workers(self, workers: tuple[str, ...]) -> None:
        """Offer these llama.cpp RPC workers besides the GPUs."""
        self._rpc_workers = workers
        self._offer_devices()

    def set_engines(self, engines: tuple[EngineInfo, ...]) -> None:
        """Offer these engines besides the automatic choice."""
        self._engine.set_engines(engines)
        if not self._device_is_wanted:
            self._device.forget()  # other engines may use other GPUs
        self.refresh()

    def select_gpu(self, index: int) -> None:
        """Choose this GPU alone."""
        self._device.choose((index,))
        self._take_device()

    def show_request(self, request: ModelLoadRequest) -> None:
        """Fill the form with a request, so that it can be looked at, changed and deployed."""
        self._model.choose(request.model_path)
        self._fit_fields_to_model()
        self._serve_as.set_value(request.server_type)
        self._layers.set_value(request.n_gpu_layers)
        self._device_is_wanted = request.gpu_indices is not None or bool(request.rpc_workers)
        if self._device_is_wanted:
            self._device.choose(request.gpu_indices or (), request.rpc_workers)
        else:
            self._device.forget()
        self._fit_layers_to_device()
        self._context.set_value(request.n_ctx)
        self._slots.setValue(request.n_parallel)
        self._engine.choose(request.engine_id)
        self._more.set_values(request.model_id, request.cache_type_k, request.cache_type_v)
        self.refresh()

    # what it says

    def request(self) -> ModelLoadRequest | None:
        """What the form asks for, None while no model is chosen."""
        model = self._model.model_info()
        if model is None:
            return None
        devices = self._device.entries()
        return ModelLoadRequest(
            model_path=model.path,
            server_type=ServerType(str(self._serve_as.value())),
            model_id=self._more.name.text().strip() or None,
            gpu_indices=tuple(d.gpu_index for d in devices if d.gpu_index is not None) if devices else None,
            rpc_workers=tuple(d.rpc_worker for d in devices if d.rpc_worker is not None),
            n_gpu_layers=0 if self._is_on_cpu() else self._layers.value(),
            n_ctx=self._context.value(),
            n_parallel=self._slots.value(),
            cache_type_k=self._more.cache_type_k.currentText(),
            cache_type_v=self._more.cache_type_v.currentText(),
            engine_id=self._engine.engine_id(),
        )

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
            self._show_command("")
            self._allow(tr("This cannot be deployed; the reason stands above."))
            return
        if plan is None:
            self._show_waiting(tr("Reading the model …"))
        else:
            self._show_plan(plan)

    def _show_plan(self, plan: LaunchPlan) -> None:
        if self._inventory and not self._device.entries():
            self._device.choose(plan.request.gpu_indices or (), plan.request.rpc_workers)
            self._fit_layers_to_device()
            self.refresh()  # the planner was free to choose; from here on that is what is asked for
            return
        self._layers.show_resolved(plan.layers.resolved)
        self._engine.show_auto(plan.engine if self._engine.engine_id() is None else None)
        self._reasons.setText(tr("because {reasons}", reasons=", ".join(tr(reason) for reason in plan.reasons)))
        self._reasons.setVisible(bool(plan.reasons))
        self._more.name.setPlaceholderText(plan.model_id)
        self._estimate.show_plan(plan)
        self._show_command(command_line(plan))
        self._allow("" if plan.blocker is None else tr("This cannot be deployed; the reason stands above."))

    def _show_waiting(self, text: str) -> None:
        self._estimate.show_waiting(text)
        self._show_command("")
        self._allow(text)

    def _show_command(self, command: str) -> None:
        self._command.show_command(command)
        if not command:
            self._reasons.hide()
            self._engine.show_auto(None)

    def _allow(self, obstacle: str) -> None:
        """The button works unless there is an obstacle; then that stands beside it."""
        self._deploy.setEnabled(not obstacle)
        self._blocked.setText(obstacle)
        self._blocked.setVisible(bool(obstacle))
        self._deploy.setToolTip(obstacle)
        self._deploy.setAccessibleDescription(obstacle)

    # what a change does

    def _request_deploy(self) -> None:
        request = self.request()
        if request is not None and self._deploy.isEnabled():
            self.deploy_requested.emit(request)

    def _apply_fix(self, fix: Fix) -> None:
        request = self.request()
        if request is not None:
            changes: dict[str, Any] = dict(fix.changes)
            self.show_request(replace(request, **changes))

    def _offer_devices(self) -> None:
        if self._inventory is not None:
            self._device.set_entries(device_entries(self._inventory, self._rpc_workers))
            self._fit_layers_to_device()
            self.refresh()

    def _model_changed(self) -> None:
        self._fit_fields_to_model()
        self.refresh()

    def _take_device(self) -> None:
        self._device_is_wanted = True
        self._fit_layers_to_device()
        self.refresh()

    def _is_on_cpu(self) -> bool:
        return any(device.is_cpu for device in self._device.entries())

    def _fit_layers_to_device(self) -> None:
        """There is nothing to place on a GPU while the CPU is chosen; back on a GPU it is found out anew."""
        on_cpu = self._is_on_cpu()
        self._layers.setEnabled(not on_cpu)
        if on_cpu:
            self._layers.set_value(None)

    def _fit_fields_to_model(self) -> None:
        """Layers, context and purpose as the chosen model allows them."""
        model = self._model.model_info()
        self._layers.set_layer_count(model.layer_count if model and model.block_count else 0)
        self._context.set_limit(model.context_length if model else None)
        allowed = model.server_types if model else ()
        for server_type in ServerType:
            self._serve_as.set_option_enabled(
                server_type, enabled=server_type in allowed, reason=tr("This model cannot be served like that")
            )
        if allowed and self._serve_as.value() not in allowed:
            self._serve_as.set_value(allowed[0])

    # how it is put together

    def _make_fields(self) -> None:
        self._model = ModelCombo()
        options = ((ServerType.LLM, "LLM"), (ServerType.EMBEDDING, tr("Embedding")))
        self._serve_as = Segmented(options, tr("Serve as"))
        self._device = DeviceCombo()
        self._layers = LayersField()
        self._context = ContextCombo()
        self._slots = NumberField(tr("Slots: requests answered at the same time"), 1, MAX_SLOTS, DEFAULT_SLOT_COUNT)
        self._slots.setSuffix(tr(" slots"))
        self._slots.setToolTip(tr("Slots: requests answered at the same time"))
        self._engine = EngineCombo()
        self._reasons = QLabel(wordWrap=True)
        self._reasons.setProperty("role", "small")
        self._more = MoreSettings()

    def _connect(self) -> None:
        self._model.chosen.connect(self._model_changed)
        self._serve_as.changed.connect(lambda _: self.refresh())
        self._slots.valueChanged.connect(lambda _: self.refresh())
        self._device.chosen.connect(self._take_device)
        for field in (self._layers, self._context, self._engine, self._more):
            field.chosen.connect(self.refresh)
        self._estimate.fix_requested.connect(self._apply_fix)
        guard = WheelGuard(self)
        combos = (self._model, self._device, self._context, self._engine)
        for widget in (*combos, self._slots, self._layers.number, self._more.cache_type_k, self._more.cache_type_v):
            guard.watch(widget)

    def _make_no_model(self) -> QWidget:
        box = QFrame()
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
        column.addWidget(self._no_model)
        column.addLayout(self._field_rows())
        column.addWidget(self._estimate)
        column.addWidget(Disclosure(tr("More settings: name, KV cache types"), self._more, opened=False))
        column.addWidget(self._command)
        column.addStretch(1)
        scroll = QScrollArea(widgetResizable=True)
        scroll.setFrameShape(QFrame.Shape.NoFrame)
        scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        scroll.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        scroll.setWidget(page)
        scroll.setMinimumWidth(page.minimumSizeHint().width())
        bottom = QVBoxLayout()
        bottom.setContentsMargins(12, 6, 12, 12)
        bottom.addWidget(self._blocked)
        bottom.addWidget(self._deploy)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(1, 1, 1, 1)
        outer.setSpacing(0)
        outer.addWidget(scroll, 1)
        outer.addLayout(bottom)

    def _field_rows(self) -> QFormLayout:
        size = QHBoxLayout()
        size.setSpacing(8)
        size.addWidget(self._context, 3)
        size.addWidget(self._slots, 2)
        engine = QVBoxLayout()
        engine.setSpacing(3)
        engine.addWidget(self._engine)
        engine.addWidget(self._reasons)
        rows = QFormLayout(horizontalSpacing=12, verticalSpacing=10)
        rows.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        for text, content, field, key in (
            (tr("Model"), self._model, self._model, "Alt+M"),
            (tr("Serve as"), self._serve_as, self._serve_as, "Alt+V"),
            ("GPU", self._device, self._device, "Alt+G"),
            (tr("Layers"), self._layers, self._layers.slider, "Alt+L"),
            (tr("Context"), size, self._context, "Alt+X"),
            (tr("Engine"), engine, self._engine, "Alt+E"),
        ):
            label = QLabel(text)
            label.setProperty("role", "muted")
            label.setMinimumHeight(28)
            give_key(field, key, told_by=label)
            rows.addRow(label, content)
        return rows
