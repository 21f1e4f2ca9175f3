"""How many layers go to the GPU: a slider, the same number as a field, and "auto"."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QSignalBlocker, Signal
from PySide6.QtWidgets import QCheckBox, QHBoxLayout, QVBoxLayout, QWidget

from launchdeck.domain.request import ALL_LAYERS
from launchdeck.ui.deploy.layer_slider import LayerSlider
from launchdeck.ui.kit.i18n import tr
from launchdeck.ui.kit.keys import give_key
from launchdeck.ui.kit.number_field import NumberField

if TYPE_CHECKING:
    from launchdeck.domain.plan import LayerPlan


class LayersField(QWidget):
    """Whoever moves the slider or types a number leaves "auto"; under "auto" both show what was found."""

    chosen = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.slider = LayerSlider()
        self.number = NumberField(tr("Number of layers on the GPU"))
        self.auto = QCheckBox(tr("auto"), checked=True)
        self.auto.setToolTip(tr("The largest number that fits"))
        give_key(self.auto, "Alt+U")
        self.slider.chosen.connect(self._take)
        self.number.valueChanged.connect(self._take)
        self.auto.clicked.connect(self._auto_clicked)
        below = QHBoxLayout()
        below.setSpacing(10)
        below.addWidget(self.number, 1)
        below.addWidget(self.auto)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(4)
        column.addWidget(self.slider)
        column.addLayout(below)
        self.slider.set_auto(True)
        self.set_layer_count(0)

    def set_layer_count(self, count: int) -> None:
        """All the layers of the model; a larger number that was chosen becomes all of these."""
        with QSignalBlocker(self.number):
            self.number.setRange(0, count)
            self.number.setSuffix(f" / {count}")
        self.slider.set_layer_count(count)
        self._show(min(self.number.value(), count))

    def value(self) -> int | None:
        """The number of layers, None for "auto"."""
        return None if self.auto.isChecked() else self.number.value()

    def set_value(self, layers: int | None) -> None:
        """As in a request: None is "auto", ALL_LAYERS all. Tells nobody."""
        self.auto.setChecked(layers is None)
        self.slider.set_auto(layers is None)
        if layers is not None:
            self._show(self.number.maximum() if layers == ALL_LAYERS else layers)

    def show_plan(self, layers: LayerPlan | None) -> None:
        """What "auto" comes to at the moment, and what fits; None: there is no plan."""
        self.slider.set_mark(layers.largest_that_fits if layers else None)
        if layers and self.auto.isChecked():
            self._show(layers.resolved)

    def _show(self, layers: int) -> None:
        with QSignalBlocker(self.number):
            self.number.setValue(layers)
        self.slider.setValue(layers)

    def _take(self, layers: int) -> None:
        self.set_value(layers)
        self.chosen.emit()

    def _auto_clicked(self, auto: bool) -> None:  # noqa: FBT001 (a Qt slot)
        self.slider.set_auto(auto)
        self.chosen.emit()
