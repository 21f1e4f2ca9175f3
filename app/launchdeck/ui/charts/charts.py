"""Memory and utilization of all devices over time: two charts that share their time axis, crosshair and switches."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from PySide6.QtCore import QEvent, Qt, Signal, Slot
from PySide6.QtWidgets import QVBoxLayout, QWidget

from launchdeck.domain.units import GIB
from launchdeck.ui.charts.chart_panel import ChartPanel
from launchdeck.ui.charts.plot import Marker
from launchdeck.ui.charts.time_axis import axis_top
from launchdeck.ui.charts.time_view import TimeView
from launchdeck.ui.kit import theme
from launchdeck.ui.kit.format import not_measurable
from launchdeck.ui.kit.i18n import tr
from launchdeck.ui.kit.names import place_and_name

if TYPE_CHECKING:
    from PySide6.QtGui import QKeyEvent, QShowEvent

    from launchdeck.domain.gpu import Gpu, GpuReading, Inventory
    from launchdeck.monitor.history import History
    from launchdeck.ui.charts.table import Column

_GAP_PX = 12
_BUCKETS = 360  # two points each: about one a pixel
_MARKERS_KEPT = 200
_BESIDE_S = 60.0  # drawn from a little before the left edge to a little behind the right: a curve reaches both
_DECIMALS = {"vram_gib": 1, "utilization_percent": 0}
_STEP = 0.1  # of the range, for a press of an arrow key
_ZOOM = 0.8


class Charts(QWidget):
    """Frames, titles and axes are there at once; the curves after `show_history`, which needs numpy.

    Without a GPU the charts show the RAM and the load of the CPU. `view_changed` carries the range in seconds and
    whether the charts follow the readings.
    """

    view_changed = Signal(float, bool)

    def __init__(self, interval_s: float = 5.0, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._history: History | None = None
        self._interval_s = interval_s
        self._inventory: Inventory | None = None
        self._view = TimeView(300.0)
        self._hidden: set[str] = set()
        self._crosshair: float | None = None
        self._markers: deque[Marker] = deque(maxlen=_MARKERS_KEPT)
        self._top = 24.0
        self.memory = ChartPanel(tr("VRAM"), "GiB", 24, "88.8", axis_below=True)
        self.utilization = ChartPanel(tr("Utilization"), "%", 100, "88")
        self._panels = {"vram_gib": self.memory, "utilization_percent": self.utilization}
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(_GAP_PX)
        for panel in self._panels.values():
            panel.legend.toggled.connect(self._toggle)
            panel.plot.hovered.connect(self._show_crosshair)
            panel.plot.panned.connect(self._pan)
            panel.plot.zoomed.connect(self._zoom)
            panel.plot.setAccessibleDescription(tr("Arrows move through time, + and − zoom, End goes back to now"))
            layout.addWidget(panel, 1)

    def show_history(self, history: History) -> None:
        """Draw the curves from here, and keep the readings there from now on."""
        for panel in self._panels.values():
            panel.plot.build()
        self._history = history
        history.set_interval_s(self._interval_s)
        if self._inventory is not None:
            history.append(self._inventory)
        self.refresh()

    def set_interval_s(self, interval_s: float) -> None:
        """How often `show_inventory` will be called; after 2.5 intervals without it the curves have a gap."""
        self._interval_s = interval_s
        if self._history is not None:
            self._history.set_interval_s(interval_s)

    def show_inventory(self, inventory: Inventory) -> None:
        """A new reading of all devices."""
        before, self._inventory = self._inventory, inventory
        if self._history is not None:
            self._history.append(inventory)
        is_new = before is None or [r.gpu for r in _devices(before)] != [r.gpu for r in _devices(inventory)]
        if is_new:
            self._match_devices(inventory)
        if not self._view.following:
            return
        column, self._view = self._column(), self._view.advanced(inventory.sampled_at_s)
        if is_new or column != self._column():
            self.refresh()
        else:
            self._show_values()  # the curves would stay the same, to a pixel

    @Slot(object)
    def set_range_s(self, range_s: float) -> None:
        """Show the last `range_s` seconds."""
        self._look(self._view.live(self._now_s, range_s))

    @Slot(bool)
    def set_paused(self, paused: bool) -> None:  # noqa: FBT001
        """Hold the picture still; what comes meanwhile is kept, and seen when it goes on."""
        self._look(self._view.held() if paused else self._view.live(self._now_s))

    @Slot()
    def go_live(self) -> None:
        """Back to the latest reading."""
        self.set_paused(False)

    def add_marker(self, time_s: float, text: str, kind: str) -> None:
        """Mark a moment (Unix time): `kind` is "started", "ready" or "failed"."""
        self._markers.append(Marker(time_s, text, kind))
        self._show_markers()

    def refresh(self) -> None:
        """Draw again, unless nobody would see it."""
        if self._inventory is None or not self.isVisible() or self.window().isMinimized():
            return
        self.memory.axes.set_axes(self._view, self._top)
        self.utilization.axes.set_axes(self._view, 100)
        for metric, panel in self._panels.items():
            self._draw(metric, panel)
        self._show_markers()
        if self._crosshair is None:
            self._show_values()
        else:
            self._show_crosshair(self._crosshair)  # it stays in its place, where another time is now

    def visible_columns(self) -> list[Column]:
        """Every measurement that can be seen now: of the time shown, of the devices that are not hidden."""
        from launchdeck.ui.charts.table import Column  # noqa: PLC0415 (nobody saves before the first paint)

        if self._history is None or self._inventory is None:
            return []
        shown = [reading.gpu for reading in _devices(self._inventory) if reading.gpu.uuid not in self._hidden]
        return [
            Column(
                f"{place_and_name(gpu)} {panel.title} ({panel.unit})",
                *self._history.series(gpu.uuid, metric, self._view.since_s, _after(self._view.until_s)),
            )
            for metric, panel in self._panels.items()
            for gpu in shown
        ]

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self.refresh()

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if event.type() == QEvent.Type.PaletteChange:
            self.refresh()  # the curves' colours are the theme's

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """The keys that a plot with the focus leaves to us."""
        match event.key():
            case Qt.Key.Key_Left:
                self._pan(-_STEP)
            case Qt.Key.Key_Right:
                self._pan(_STEP)
            case Qt.Key.Key_Plus | Qt.Key.Key_Equal | Qt.Key.Key_Up:
                self._zoom(_ZOOM, 1.0)
            case Qt.Key.Key_Minus | Qt.Key.Key_Down:
                self._zoom(1 / _ZOOM, 1.0)
            case Qt.Key.Key_End:
                self.go_live()
            case _:
                super().keyPressEvent(event)

    @property
    def _now_s(self) -> float:
        return 0.0 if self._inventory is None else self._inventory.sampled_at_s

    def _column(self) -> int:
        """The pixel column, counted from 1970, at the right edge."""
        return int(self._view.until_s / self._view.range_s * max(self.memory.plot.width(), 1))

    def _look(self, view: TimeView) -> None:
        before, self._view = self._view, view
        if (view.range_s, view.following) != (before.range_s, before.following):
            self.view_changed.emit(view.range_s, view.following)
        self.refresh()

    @Slot(float)
    def _pan(self, share: float) -> None:
        if self._inventory is not None:
            self._look(self._view.panned(share, self._now_s))

    @Slot(float, float)
    def _zoom(self, factor: float, place: float) -> None:
        if self._inventory is not None:
            self._look(self._view.zoomed(factor, place, self._now_s))

    def _match_devices(self, inventory: Inventory) -> None:
        devices = _devices(inventory)
        mark = f" · {tr('REPLAY')}" if inventory.replayed else ""  # it goes along into saved pictures and tables
        self.memory.set_title((tr("VRAM") if inventory.gpus else tr("RAM")) + mark)
        self.utilization.set_title((tr("Utilization") if inventory.gpus else tr("CPU load")) + mark)
        largest_bytes = max((r.gpu.total_memory_bytes or r.sample.used_memory_bytes or 0) for r in devices)
        self._top = axis_top(largest_bytes / GIB)
        for panel in self._panels.values():
            panel.legend.set_devices([(r.gpu.uuid, r.gpu.index, _name(r.gpu)) for r in devices])
            panel.plot.keep_curves({r.gpu.uuid for r in devices})

    def _draw(self, metric: str, panel: ChartPanel) -> None:
        if self._history is None or self._inventory is None:
            return
        since_s, until_s = self._view.since_s - _BESIDE_S, self._view.until_s + _BESIDE_S
        if self._view.following:
            until_s = _after(self._view.until_s)
        for reading in _devices(self._inventory):
            uuid = reading.gpu.uuid
            times_s, values = self._history.series(uuid, metric, since_s, until_s, _BUCKETS)
            color = theme.tokens().curve(reading.gpu.index)
            panel.plot.set_curve(uuid, color, times_s - self._view.until_s, values)
            panel.plot.set_curve_visible(uuid, uuid not in self._hidden)
        panel.plot.set_note("" if self._is_measured(metric) or panel.plot.has_curve else not_measurable())

    def _is_measured(self, metric: str) -> bool:
        """Whether any device has a value just now."""
        readings = _devices(self._inventory) if self._inventory else ()
        samples = [reading.sample for reading in readings]
        return any(
            (s.used_memory_bytes if metric == "vram_gib" else s.utilization_percent) is not None for s in samples
        )

    def _show_values(self) -> None:
        """In the legend: the values under the crosshair, or else at the right edge."""
        for metric, panel in self._panels.items():
            values = {}
            for reading in _devices(self._inventory) if self._inventory else ():
                value = self._value(metric, panel, reading)
                values[reading.gpu.uuid] = not_measurable() if value is None else f"{value:.{_DECIMALS[metric]}f}"
            panel.legend.show_values(values)

    def _value(self, metric: str, panel: ChartPanel, reading: GpuReading) -> float | None:
        if self._crosshair is not None or not self._view.following:
            return panel.plot.value_at(reading.gpu.uuid, 1.0 if self._crosshair is None else self._crosshair)
        if metric == "utilization_percent":
            return reading.sample.utilization_percent
        used_bytes = reading.sample.used_memory_bytes
        return None if used_bytes is None else used_bytes / GIB

    def _show_markers(self) -> None:
        placed = [(self._view.place_of(marker.time_s), marker) for marker in self._markers]
        self.memory.plot.set_markers([(place, marker) for place, marker in placed if 0 <= place <= 1])

    @Slot(object)
    def _show_crosshair(self, place: float | None) -> None:
        self._crosshair = place
        for panel in self._panels.values():
            panel.axes.set_crosshair(place, self._view.time_at(place or 0))
            panel.plot.set_crosshair(place)
        self._show_values()

    @Slot(str, bool)
    def _toggle(self, uuid: str, shown: bool) -> None:  # noqa: FBT001 (a signal's argument)
        """Both charts show and hide a device together."""
        self._hidden = self._hidden - {uuid} if shown else self._hidden | {uuid}
        for panel in self._panels.values():
            panel.legend.set_shown(uuid, shown)
            panel.plot.set_curve_visible(uuid, shown)


def _name(gpu: Gpu) -> str:
    return place_and_name(gpu) if gpu.ours else f"{place_and_name(gpu)} ({tr('not ours')})"


def _devices(inventory: Inventory) -> tuple[GpuReading, ...]:
    return inventory.gpus or (inventory.cpu,)


def _after(time_s: float) -> float:
    """The history's end is exclusive."""
    return time_s + 0.001
