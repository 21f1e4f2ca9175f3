"""One device: its name, who holds its memory, and how it is doing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QRectF, QSize, Qt, Signal
from PySide6.QtGui import QColor, QPainter, QPen
from PySide6.QtWidgets import QCheckBox, QHBoxLayout, QLabel, QVBoxLayout, QWidget

from launchdeck.domain.gpu import Gpu, GpuReading, GpuState, GpuType
from launchdeck.ui.gpus.facts_row import Facts, FactsRow
from launchdeck.ui.gpus.gpu_details import GpuDetails
from launchdeck.ui.gpus.memory_share import held_bytes, others_bytes
from launchdeck.ui.kit import format as number
from launchdeck.ui.kit import theme
from launchdeck.ui.kit.elided_label import ElidedLabel
from launchdeck.ui.kit.i18n import tr
from launchdeck.ui.kit.model_colors import model_color
from launchdeck.ui.kit.names import is_usable, place_and_name, short_name, vendor, why_not_ours
from launchdeck.ui.kit.stacked_bar import Segment, StackedBar

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PySide6.QtGui import QKeyEvent, QMouseEvent, QPaintEvent

    from launchdeck.domain.deployment import Deployment

_RADIUS_PX = 10.0
_DOT_PX = 9
_CLOSED, _OPEN = "▶", "▼"


class GpuCard(QWidget):
    """Made once for a device, then kept up to date by `show_reading`.

    A click, space or return opens or closes its details, and changes nothing else; `opened` tells that the user has
    opened them. `use_clicked` is the check box's alone: whether to use the device is asked for, and shown by `set_used`
    once it is so.
    """

    use_clicked = Signal(bool)
    opened = Signal()
    arrow_pressed = Signal(int)

    def __init__(self, gpu: Gpu, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.gpu = gpu
        self._used = False
        self._bar = StackedBar(parent=self)
        self._facts = FactsRow(self)
        self._alert = _label("", "small")
        self._alert.setProperty("state", "warn")
        self._alert.hide()
        self._arrow = _label(_CLOSED, "small")
        self._use = self._make_use()
        self._details: GpuDetails | None = None
        self._shown: tuple[GpuReading, Sequence[Deployment]] | None = None
        self.setAccessibleName(place_and_name(gpu))
        self.setToolTip(why_not_ours(gpu))
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(13, 11, 13, 11)
        self._column.setSpacing(8)
        self._column.addLayout(self._title_row())
        for widget in (self._bar, self._facts, self._alert):
            self._column.addWidget(widget)

    @property
    def facts(self) -> Facts:
        """The numbers shown."""
        return self._facts.facts

    @property
    def segments(self) -> tuple[Segment, ...]:
        """Who holds the memory, as the bar has it."""
        return self._bar.segments()

    @property
    def used(self) -> bool:
        """Whether the form's launch uses the device."""
        return self._used

    def set_used(self, used: bool) -> None:  # noqa: FBT001
        """Show whether it does; tells nobody."""
        self._used = used
        self._use.setChecked(used)
        self._enable_use()
        self.update()

    def set_tab_stop(self, is_stop: bool) -> None:  # noqa: FBT001
        """Whether the tab key comes to the card, and from there to its check box."""
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus if is_stop else Qt.FocusPolicy.NoFocus)
        self._use.setFocusPolicy(Qt.FocusPolicy.StrongFocus if is_stop else Qt.FocusPolicy.NoFocus)

    @property
    def details(self) -> GpuDetails | None:
        """What is shown below the facts while the card is open."""
        return self._details

    def set_open(self, is_open: bool) -> None:  # noqa: FBT001
        """Show all values, or the usual ones; those of a closed card are not kept up to date."""
        if is_open is (self._details is not None):
            return
        self._arrow.setText(_OPEN if is_open else _CLOSED)
        if is_open:
            self._details = GpuDetails()
            if self._shown is not None:
                self._details.show_reading(*self._shown)
            self._column.addWidget(self._details)
        elif self._details is not None:
            self._column.removeWidget(self._details)
            self._details.hide()
            self._details.deleteLater()
            self._details = None

    def show_alert(self, text: str) -> None:
        """What needs attention, in words; empty: nothing does."""
        if text != self._alert.text():
            self._alert.setText(text)
            self._alert.setVisible(bool(text))
            self._describe()
            self.update()

    def show_reading(self, reading: GpuReading, deployments: Sequence[Deployment]) -> None:
        """A new sample, or other deployments."""
        self._facts.show_facts(_facts(reading))
        self._bar.show_segments(_segments(reading, deployments), reading.gpu.total_memory_bytes or 0)
        self._describe()
        self._shown = reading, deployments
        self._enable_use()
        if self._details is not None:
            self._details.show_reading(reading, deployments)

    def minimumSizeHint(self) -> QSize:
        """As low as it can be at its width; the layout's own says how high it would be if it were narrow."""
        return QSize(super().minimumSizeHint().width(), self.heightForWidth(self.width()))

    def paintEvent(self, _event: QPaintEvent) -> None:
        tokens = theme.tokens()
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setBrush(QColor(tokens.panel))
        width = 2.0 if self._used else 1.0
        usual = tokens.bad if self.facts.alert else tokens.warn if self._alert.text() else tokens.line
        painter.setPen(QPen(QColor(tokens.accent if self._used else usual), width))
        inset = width / 2
        painter.drawRoundedRect(QRectF(self.rect()).adjusted(inset, inset, -inset, -inset), _RADIUS_PX, _RADIUS_PX)
        if self.hasFocus():
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.setPen(QColor(tokens.accent))
            painter.drawRoundedRect(QRectF(self.rect()).adjusted(4, 4, -4, -4), _RADIUS_PX - 3, _RADIUS_PX - 3)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        if event.button() == Qt.MouseButton.LeftButton:
            self._toggle_details()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        steps = {Qt.Key.Key_Up: -1, Qt.Key.Key_Down: 1}
        if event.key() in steps:
            self.arrow_pressed.emit(steps[Qt.Key(event.key())])
        elif event.key() in {Qt.Key.Key_Space, Qt.Key.Key_Return, Qt.Key.Key_Enter}:
            self._toggle_details()
        else:
            super().keyPressEvent(event)

    def _describe(self) -> None:
        """For those who cannot see the card."""
        parts = [why_not_ours(self.gpu), self._alert.text(), str(self.facts), self._bar.accessibleDescription()]
        self.setAccessibleDescription(". ".join(part for part in parts if part))

    def _make_use(self) -> QCheckBox:
        box = QCheckBox()
        box.setAccessibleName(tr("Use {device}", device=place_and_name(self.gpu)))
        box.setToolTip(tr("Deploy on this device; several share the model"))
        box.setCursor(Qt.CursorShape.ArrowCursor)
        box.clicked.connect(self._ask_use)
        return box

    def _ask_use(self, used: bool) -> None:  # noqa: FBT001 (a Qt slot)
        self.use_clicked.emit(used)
        self._use.setChecked(self._used)  # where it was not to be

    def _enable_use(self) -> None:
        """One that cannot be used can still be given up."""
        self._use.setEnabled(self._used or (self._shown is not None and is_usable(self._shown[0])))

    def _toggle_details(self) -> None:
        self.set_open(self._details is None)
        if self._details is not None:
            self.opened.emit()

    def _title_row(self) -> QHBoxLayout:
        row = QHBoxLayout()
        row.setSpacing(7)
        row.addWidget(self._use)
        if self.gpu.gpu_type is GpuType.CPU:
            name = ElidedLabel(short_name(self.gpu))
            name.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
            row.addWidget(_label("CPU", "title"))
            row.addWidget(_in_role(name, "small"), 1)
        else:
            row.addWidget(_Dot(self.gpu.index))
            row.addWidget(_label(str(self.gpu.index), "title"))
            row.addWidget(_in_role(ElidedLabel(short_name(self.gpu)), "title"), 1)
            row.addWidget(_label(vendor(self.gpu) if self.gpu.ours else tr("not ours"), "small"))
        row.addWidget(self._arrow)
        return row


class _Dot(QWidget):
    """The colour of the GPU's curve."""

    def __init__(self, gpu_index: int) -> None:
        super().__init__()
        self._gpu_index = gpu_index
        self.setFixedSize(_DOT_PX, _DOT_PX)

    def paintEvent(self, _event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(theme.tokens().curve(self._gpu_index)))
        painter.drawEllipse(QRectF(self.rect()))


def _label(text: str, role: str) -> QLabel:
    return _in_role(QLabel(text), role)


def _in_role(label: QLabel, role: str) -> QLabel:
    label.setProperty("role", role)
    return label


def _segments(reading: GpuReading, deployments: Sequence[Deployment]) -> list[Segment]:
    ours = [Segment(d.plan.model_id, held_bytes(reading, d), model_color(d.id)) for d in deployments]
    others = Segment(tr("Other processes"), others_bytes(reading, deployments), theme.tokens().muted)
    if reading.gpu.gpu_type is GpuType.CPU:
        return [*ours, others]  # of RAM the pages of models' files are promised, which stand there as theirs already
    promised = (
        Segment(tr("Promised to {names}", names=promise.model_id), promise.size_bytes, theme.tokens().faint)
        for promise in reading.promises
    )
    return [*ours, others, *promised]


def _facts(reading: GpuReading) -> Facts:
    capacity = _capacity(reading.gpu)
    match reading.sample.state:
        case GpuState.ASLEEP:
            return Facts(tr("Asleep"), capacity and f" · {capacity}")
        case GpuState.LOST:
            return Facts(f"▲ {tr('Lost')}", f" · {tr('does not answer any more')}", alert=True)
        case GpuState.STALLED:
            return Facts(f"▲ {tr('Stalled')}", f" · {tr('its driver does not answer')}", alert=True)
    used_bytes = reading.sample.used_memory_bytes
    if used_bytes is None:
        return Facts("", number.not_measurable(), _others(reading))
    return Facts(number.gib(used_bytes), f" / {capacity}" if capacity else " GiB", _others(reading))


def _capacity(gpu: Gpu) -> str:
    return f"{number.gib_capacity(gpu.total_memory_bytes)} GiB" if gpu.total_memory_bytes else ""


def _others(reading: GpuReading) -> tuple[tuple[str, str], ...]:
    """Utilization, temperature, power. Several missing ones share one "Not measurable"; a CPU tells its load only."""
    sample = reading.sample
    values = [
        ("%", sample.utilization_percent, number.percent(sample.utilization_percent), "100 %"),
        ("°C", sample.temperature_c, number.celsius(sample.temperature_c), "100 °C"),
        ("W", sample.power_watts, number.watts(sample.power_watts), "100 W"),
    ]
    if reading.gpu.gpu_type is GpuType.CPU:
        values = [value for value in values if value[1] is not None or value[0] == "%"]
    missing = [unit for unit, value, _, _ in values if value is None]
    if len(missing) <= 1:
        return tuple((text, usual if value is not None else text) for _, value, text, usual in values)
    shared = f"{', '.join(missing)}: {number.not_measurable()}"
    return (*((text, usual) for _, value, text, usual in values if value is not None), (shared, shared))
