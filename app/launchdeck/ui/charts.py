"""Memory and utilization of all devices over time: two charts that share their time axis, crosshair and switches."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from PySide6.QtCore import QEvent, Slot
from PySide6.QtWidgets import QVBoxLayout, QWidget

from launchdeck.ui import theme
from launchdeck.ui.chart_panel import MARGIN, ChartPanel, Marker
from launchdeck.ui.format import GIB_BYTES, not_measurable
from launchdeck.ui.i18n import tr
from launchdeck.ui.names import place_and_name
from launchdeck.ui.time_axis import axis_top

if TYPE_CHECKING:
    from PySide6.QtGui import QShowEvent

    from launchdeck.domain.gpu import GpuReading, Inventory
    from launchdeck.monitor.history import History

_GAP_PX = 12
_BUCKETS = 360  # two points each: about one a pixel
_MARKERS_KEPT = 200
_BEFORE_S = 60.0  # drawn from a little before the left edge, so that a curve begins there
_AFTER_S = 0.001  # the history's end is exclusive
_DECIMALS = {"vram_gib": 1, "utilization_percent": 0}


class Charts(QWidget):
    """Frames, titles and axes are there at once; the curves after `build()`, which loads numpy and pyqtgraph.

    Without a GPU the charts show the RAM and the load of the CPU.
    """

    def __init__(self, interval_s: float = 5.0, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._history: History | None = None
        self._interval_s = interval_s
        self._inventory: Inventory | None = None
        self._range_s = 300.0
        self._until_s = 0.0
        self._paused = False
        self._hidden: set[str] = set()
        self._crosshair: float | None = None
        self._markers: deque[Marker] = deque(maxlen=_MARKERS_KEPT)
        self.memory = ChartPanel(tr("VRAM"), "GiB", 24, "88.8")
        self.utilization = ChartPanel(tr("Utilization"), "%", 100, "88")
        self._panels = {"vram_gib": self.memory, "utilization_percent": self.utilization}
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(_GAP_PX)
        for panel in self._panels.values():
            panel.legend.toggled.connect(self._toggle)
            layout.addWidget(panel, 1)

    def build(self) -> None:
        """Put the curves in; to be called once the window has been painted."""
        from launchdeck.monitor.history import History  # noqa: PLC0415 (after the first paint)
        from launchdeck.ui.plot import Plot  # noqa: PLC0415

        self._history = History(self._interval_s)
        for panel in self._panels.values():
            plot = Plot(MARGIN)
            plot.hovered.connect(self._show_crosshair)
            panel.set_plot(plot)
        if self._inventory is not None:
            self._history.append(self._inventory)
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
        if before is None or [r.gpu for r in _devices(before)] != [r.gpu for r in _devices(inventory)]:
            self._match_devices(inventory)
        if not self._paused:
            self._until_s = inventory.sampled_at_s
            self.refresh()

    @Slot(object)
    def set_range_s(self, range_s: float) -> None:
        """Show the last `range_s` seconds."""
        self._range_s = range_s
        self.refresh()

    @Slot(bool)
    def set_paused(self, paused: bool) -> None:  # noqa: FBT001
        """Hold the picture still; what comes meanwhile is kept, and seen when it goes on."""
        self._paused = paused
        if not paused and self._inventory is not None:
            self._until_s = self._inventory.sampled_at_s
            self.refresh()

    def add_marker(self, time_s: float, text: str, kind: str) -> None:
        """Mark a moment (Unix time): `kind` is "started", "ready" or "failed"."""
        self._markers.append(Marker(time_s, text, kind))
        self._show_markers()

    def refresh(self) -> None:
        """Draw again, unless nobody would see it."""
        if self._inventory is None or not self.isVisible() or self.window().isMinimized():
            return
        for metric, panel in self._panels.items():
            panel.axes.set_axes(self._range_s, panel.axes.top)
            self._draw(metric, panel)
        self._show_values()
        self._show_markers()

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self.refresh()

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if event.type() == QEvent.Type.PaletteChange:
            self.refresh()  # the curves' colours are the theme's

    def _match_devices(self, inventory: Inventory) -> None:
        devices = _devices(inventory)
        self.memory.set_title(tr("VRAM") if inventory.gpus else tr("RAM"))
        self.utilization.set_title(tr("Utilization") if inventory.gpus else tr("CPU load"))
        largest_bytes = max((r.gpu.total_memory_bytes or r.sample.used_memory_bytes or 0) for r in devices)
        self.memory.axes.set_axes(self._range_s, axis_top(largest_bytes / GIB_BYTES))
        for panel in self._panels.values():
            panel.legend.set_devices([(r.gpu.uuid, r.gpu.index, place_and_name(r.gpu)) for r in devices])
            if panel.plot is not None:
                panel.plot.keep_curves({r.gpu.uuid for r in devices})

    def _draw(self, metric: str, panel: ChartPanel) -> None:
        if self._history is None or self._inventory is None or panel.plot is None:
            return
        panel.plot.set_axes(self._range_s, panel.axes.top)
        since_s = self._until_s - self._range_s - _BEFORE_S
        for reading in _devices(self._inventory):
            uuid = reading.gpu.uuid
            times_s, values = self._history.series(uuid, metric, since_s, self._until_s + _AFTER_S, _BUCKETS)
            panel.plot.set_curve(uuid, theme.tokens().curve(reading.gpu.index), times_s - self._until_s, values)
            panel.plot.set_curve_visible(uuid, uuid not in self._hidden)

    def _show_values(self) -> None:
        """In the legend: the values under the crosshair, or else the latest."""
        for metric, panel in self._panels.items():
            values = {}
            for reading in _devices(self._inventory) if self._inventory else ():
                value = self._value(metric, panel, reading)
                values[reading.gpu.uuid] = not_measurable() if value is None else f"{value:.{_DECIMALS[metric]}f}"
            panel.legend.show_values(values)

    def _value(self, metric: str, panel: ChartPanel, reading: GpuReading) -> float | None:
        if self._crosshair is not None and panel.plot is not None:
            return panel.plot.value_at(reading.gpu.uuid, self._crosshair)
        if metric == "utilization_percent":
            return reading.sample.utilization_percent
        used_bytes = reading.sample.used_memory_bytes
        return None if used_bytes is None else used_bytes / GIB_BYTES

    def _show_markers(self) -> None:
        if self.memory.plot is None:
            return
        placed = [(1 - (self._until_s - marker.time_s) / self._range_s, marker) for marker in self._markers]
        self.memory.plot.set_markers([(place, marker) for place, marker in placed if 0 <= place <= 1])

    @Slot(object)
    def _show_crosshair(self, place: float | None) -> None:
        self._crosshair = place
        time_s = self._until_s - (1 - (place or 0)) * self._range_s
        for panel in self._panels.values():
            panel.axes.set_crosshair(place, time_s)
            if panel.plot is not None:
                panel.plot.set_crosshair(place)
        self._show_values()

    @Slot(str, bool)
    def _toggle(self, uuid: str, shown: bool) -> None:  # noqa: FBT001 (a signal's argument)
        """Both charts show and hide a device together."""
        self._hidden = self._hidden - {uuid} if shown else self._hidden | {uuid}
        for panel in self._panels.values():
            panel.legend.set_shown(uuid, shown)
            if panel.plot is not None:
                panel.plot.set_curve_visible(uuid, shown)


def _devices(inventory: Inventory) -> tuple[GpuReading, ...]:
    return inventory.gpus or (inventory.cpu,)
