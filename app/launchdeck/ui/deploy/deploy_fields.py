"""The fields of a launch: what, for what, where, how much, with what. They know the request and no plan's details."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QSignalBlocker, Signal, SignalInstance
from PySide6.QtWidgets import QFormLayout, QHBoxLayout, QLabel, QLayout, QPushButton, QVBoxLayout, QWidget

from launchdeck.domain.model import ServerType
from launchdeck.domain.request import DEFAULT_SLOT_COUNT, ModelLoadRequest
from launchdeck.engines.llama.checks import MAX_SLOTS
from launchdeck.ui.deploy.context_combo import USUAL_CONTEXT, ContextCombo
from launchdeck.ui.deploy.device_combo import DeviceCombo, device_entries
from launchdeck.ui.deploy.engine_combo import EngineCombo
from launchdeck.ui.deploy.layers_field import LayersField
from launchdeck.ui.deploy.model_combo import ModelCombo
from launchdeck.ui.deploy.more_settings import MoreSettings
from launchdeck.ui.kit.deployment_text import layers_hint
from launchdeck.ui.kit.i18n import tr
from launchdeck.ui.kit.icons import icon
from launchdeck.ui.kit.keys import give_key
from launchdeck.ui.kit.number_field import NumberField
from launchdeck.ui.kit.segmented import Segmented
from launchdeck.ui.kit.wheel_guard import WheelGuard
from launchdeck.ui.kit.wrapping_label import WrappingLabel

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from launchdeck.domain.gpu import Inventory
    from launchdeck.domain.model import ModelInfo
    from launchdeck.domain.plan import EngineInfo, LaunchPlan

_ROW_PX = 28


class DeployFields(QWidget):
    """`changed` tells that the user has changed something; what is set from outside changes in silence.

    What the user has chosen himself is kept apart (`_own`): a model that cannot have it, or that comes as it was
    deployed the last time, shows something else, and the next one has it again.

    `more` holds the fields that few launches need; whoever lays the form out finds a place for it.
    """

    changed = Signal()
    devices_shown = Signal(object)
    library_requested = Signal()
    engines_requested = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._inventory: Inventory | None = None
        self._rpc_workers: tuple[str, ...] = ()
        self._device_is_wanted = False  # by the user, and not only found for him
        self._own: dict[str, Any] = {}  # fields of a request, as the user has chosen them
        self._recall: Callable[[Path], ModelLoadRequest | None] = lambda _: None
        self._make_fields()
        self._connect()
        self._lay_out()
        self._fit_to_model()
        self.setFocusProxy(self._model)

    # what can be chosen

    def set_models(self, models: tuple[ModelInfo, ...]) -> None:
        """Offer these models. The chosen one stays chosen."""
        before = self._model.model_info()
        self._model.set_models(models)
        if self._model.model_info() != before:
            self._recall_model()

    def set_inventory(self, inventory: Inventory) -> None:
        """Offer these devices. Free memory moves, nothing that was chosen does."""
        is_first, self._inventory = self._inventory is None, inventory
        self._offer_devices()
        if is_first and any(d.gpu and not d.gpu.is_identified for d in self._device.entries()):
            self._recall_model()  # it was saved for the place of a GPU, and now it is known which that is

    def set_rpc_workers(self, workers: tuple[str, ...]) -> None:
        self._rpc_workers = workers
        self._offer_devices()

    def set_engines(self, engines: tuple[EngineInfo, ...]) -> None:
        self._engine.set_engines(engines)
        if not self._device_is_wanted:
            self._device.forget()  # other engines may use other GPUs

    def set_recall(self, recall: Callable[[Path], ModelLoadRequest | None]) -> None:
        """Whom to ask how a model was deployed the last time."""
        self._recall = recall

    def choose_model(self, path: Path) -> None:
        """As if the user had chosen it in the list."""
        self._model.choose(path)
        self._model_changed()

    # what is chosen

    def request(self) -> ModelLoadRequest | None:
        """What is asked for, None while no model is chosen. No device is: whoever plans may choose."""
        model = self._model.model_info()
        return None if model is None else ModelLoadRequest(model.path, **self._values())

    def show_request(self, request: ModelLoadRequest, chosen: Mapping[str, Any] = MappingProxyType({})) -> None:
        """Fill everything in; `chosen` are those of its fields that the user has chosen just now."""
        self._own |= chosen
        self._model.choose(request.model_path)
        self._fill(request)

    def _values(self) -> dict[str, Any]:
        """The fields of a request but for the model's."""
        devices = () if self._is_cpu_for_want_of_an_engine() else self._device.entries()
        gpus = tuple(device.gpu for device in devices if device.gpu is not None)
        return {
            "server_type": ServerType(str(self._serve_as.value())),
            "gpu_uuids": tuple(gpu.uuid for gpu in gpus) if devices else None,
            "known_gpus": gpus,
            "rpc_workers": tuple(d.rpc_worker for d in devices if d.rpc_worker is not None),
            "n_gpu_layers": 0 if any(device.is_cpu for device in devices) else self._layers.value(),
            "n_ctx": self._context.value(),
            "n_parallel": self._slots.value(),
            "engine_id": self._engine.engine_id(),
            **self.more.values(),
        }

    def _fill(self, request: ModelLoadRequest) -> None:
        """All but the model, in silence."""
        self._fit_to_model()
        self._serve_as.set_value(request.server_type)
        self._layers.set_value(request.n_gpu_layers)
        self._device_is_wanted = request.gpu_uuids is not None or bool(request.rpc_workers)
        if self._device_is_wanted:
            self._device.choose(request.named_gpus, request.rpc_workers)
        else:
            self._device.forget()
        self._fit_layers_to_device()
        self._context.set_value(request.n_ctx)
        with QSignalBlocker(self._slots):
            self._slots.setValue(request.n_parallel)
        self._engine.choose(request.engine_id)
        self.more.show_request(request)

    def use_device(self, key: str, *, used: bool) -> None:
        """Do as if the user had ticked it in the list, or had taken the tick away."""
        self._device.use(key, used=used)

    def take_found_device(self, plan: LaunchPlan) -> bool:
        """Where no device was chosen yet, choose the one that the planner found. Whether that changed the request."""
        if self._inventory is None or self._device.entries():
            return False
        self._device.choose(plan.gpus, plan.request.rpc_workers)
        self._fit_layers_to_device()
        return True

    def show_plan(self, plan: LaunchPlan | None) -> None:
        """Show what was left to the planner; None: there is no plan."""
        self._engine.show_auto(plan.engine if plan and self._engine.engine_id() is None else None)
        reasons = ", ".join(tr(reason) for reason in plan.reasons) if plan else ""
        self._reasons.setText(tr("because {reasons}", reasons=reasons))
        self._reasons.setVisible(bool(reasons))
        self._reasons.setToolTip("\n".join(tr(clause) for clause in plan.for_others) if plan else "")
        self._layers.setToolTip(layers_hint(plan.engine.kind) if plan else "")
        self._layers.show_plan(plan.layers if plan else None)
        if plan:
            self.more.name.setPlaceholderText(plan.model_id)

    # what a change does

    def _model_changed(self) -> None:
        self._recall_model()
        self.changed.emit()

    def _recall_model(self) -> None:
        """As the chosen model was deployed the last time, else as the user has chosen. A GPU that is not there or not
        ours is shown so, and not replaced.
        """
        model = self._model.model_info()
        if model is None:
            self._fit_to_model()
            return
        request = self._recall(model.path) or self._own_request(model)
        if not {*self._rpc_workers}.issuperset(request.rpc_workers):
            request = replace(request, gpu_uuids=request.gpu_uuids or None, rpc_workers=())
        self._fill(request)

    def _own_request(self, model: ModelInfo) -> ModelLoadRequest:
        """What the user has chosen, as far as this model can have it, and the usual for the rest."""
        request = ModelLoadRequest(model.path, **{"n_ctx": USUAL_CONTEXT, **self._own})
        if model.server_types and request.server_type not in model.server_types:
            request = replace(request, server_type=model.server_types[0])
        if request.n_ctx and model.context_length:
            request = replace(request, n_ctx=min(request.n_ctx, model.context_length))
        return request

    def _take(self, *names: str) -> None:
        """The user has chosen these fields of the request."""
        values = self._values()
        self._own |= {name: values[name] for name in names}
        self.changed.emit()

    def _take_device(self) -> None:
        self._device_is_wanted = True
        self._fit_layers_to_device()
        if self._is_on_cpu():
            self._own.pop("n_gpu_layers", None)
        self._take("gpu_uuids", "known_gpus", "rpc_workers")

    def _offer_devices(self) -> None:
        if self._inventory is not None:
            self._device.set_entries(device_entries(self._inventory, self._rpc_workers))
            if not self._device_is_wanted and any(entry.missing for entry in self._device.entries()):
                self._device.forget()  # it was found for the user, and another one can be
            self._fit_layers_to_device()

    def _is_on_cpu(self) -> bool:
        return any(device.is_cpu for device in self._device.entries())

    def _is_cpu_for_want_of_an_engine(self) -> bool:
        """The machine has GPUs and nobody chose the CPU: then the request leaves it open, so that the plan says why."""
        has_gpus = self._inventory is not None and bool(self._inventory.gpus)
        return self._is_on_cpu() and has_gpus and not self._device_is_wanted

    def _fit_layers_to_device(self) -> None:
        """There is nothing to place on a GPU while the CPU is chosen; back on a GPU it is found out anew."""
        on_cpu = self._is_on_cpu()
        self._layers.setEnabled(not on_cpu)
        if on_cpu:
            self._layers.set_value(None)

    def _fit_to_model(self) -> None:
        """What can be chosen of layers, context, purpose and experts, as the chosen model allows it."""
        model = self._model.model_info()
        self._layers.set_layer_count(model.layer_count if model and model.block_count else 0)
        self._context.set_limit(model.context_length if model else None)
        self.more.set_model(model)
        allowed = model.server_types if model else ()
        for server_type in ServerType:
            self._serve_as.set_option_enabled(
                server_type, enabled=server_type in allowed, reason=tr("This model cannot be served like that")
            )

    # how it is put together

    def _make_fields(self) -> None:
        self._model = ModelCombo()
        self._library = _small_button("library", tr("Model library"), self.library_requested)
        options = ((ServerType.LLM, "LLM"), (ServerType.EMBEDDING, tr("Embedding")))
        self._serve_as = Segmented(options, tr("Serve as"))
        self._device = DeviceCombo()
        self._layers = LayersField()
        self._context = ContextCombo()
        self._slots = NumberField(tr("Slots: requests answered at the same time"), 1, MAX_SLOTS, DEFAULT_SLOT_COUNT)
        self._slots.setSuffix(tr(" slots"))
        self._slots.setToolTip(tr("Slots: requests answered at the same time"))
        self._engine = EngineCombo()
        self._engines = _small_button("settings", tr("Engines of this machine"), self.engines_requested)
        self._reasons = WrappingLabel("small")
        self.more = MoreSettings()

    def _connect(self) -> None:
        self._model.chosen.connect(self._model_changed)
        self._device.shown.connect(self.devices_shown)
        self._device.chosen.connect(self._take_device)
        self._serve_as.changed.connect(lambda _: self._take("server_type"))
        self._slots.valueChanged.connect(lambda _: self._take("n_parallel"))
        self._layers.chosen.connect(lambda: self._take("n_gpu_layers"))
        self._context.chosen.connect(lambda: self._take("n_ctx"))
        self._engine.chosen.connect(lambda: self._take("engine_id"))
        self.more.chosen.connect(self._take)
        guard = WheelGuard(self)
        combos = (self._model, self._device, self._context, self._engine)
        for widget in (*combos, *self.more.wheel_fields(), self._slots, self._layers.number):
            guard.watch(widget)

    def _lay_out(self) -> None:
        rows = QFormLayout(self, horizontalSpacing=12, verticalSpacing=10)
        rows.setContentsMargins(0, 0, 0, 0)
        rows.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        size = QHBoxLayout(spacing=8)
        size.addWidget(self._context, 3)
        size.addWidget(self._slots, 2)
        engine = QVBoxLayout(spacing=3)
        engine.addLayout(_beside(self._engine, self._engines))
        engine.addWidget(self._reasons)
        self._add_row(rows, tr("Model"), _beside(self._model, self._library), self._model, "Alt+M")
        self._add_row(rows, tr("Serve as"), self._serve_as, self._serve_as, "Alt+V")
        self._add_row(rows, "GPU", self._device, self._device, "Alt+G")
        self._add_row(rows, tr("Layers"), self._layers, self._layers.slider, "Alt+L")
        self._add_row(rows, tr("Context"), size, self._context, "Alt+X")
        self._add_row(rows, tr("Engine"), engine, self._engine, "Alt+E")

        give_key(self._library, "Alt+B")
        give_key(self._engines, "Alt+I")

    @staticmethod
    def _add_row(rows: QFormLayout, text: str, content: QWidget | QLayout, field: QWidget, key: str) -> None:
        label = QLabel(text)
        label.setProperty("role", "muted")
        label.setMinimumHeight(_ROW_PX)
        give_key(field, key, told_by=label)
        rows.addRow(label, content)


def _small_button(icon_name: str, text: str, clicked: SignalInstance) -> QPushButton:
    button = QPushButton(icon(icon_name), "")
    button.clicked.connect(clicked)
    button.setAccessibleName(text)
    button.setFixedWidth(_ROW_PX)
    return button


def _beside(field: QWidget, button: QPushButton) -> QHBoxLayout:
    row = QHBoxLayout(spacing=6)
    row.addWidget(field, 1)
    row.addWidget(button)
    return row
