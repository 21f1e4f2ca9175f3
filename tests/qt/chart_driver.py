"""Readings for the charts, and what is drawn of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from PySide6.QtCore import QPoint, QRect
from PySide6.QtGui import QImage

from fakes.samples import GIB, two_gpus
from launchdeck.domain.gpu import GpuReading, Inventory
from launchdeck.ui.charts.chart_panel import ChartPanel
from launchdeck.ui.charts.charts import Charts
from launchdeck.ui.kit import theme

NOW_S = 1_800_000_000.0


def at(time_s: float, used_gib: float | None = 12.0, utilization_percent: int | None = 50) -> Inventory:
    """The second GPU holds half as much, and its utilization is never measurable."""

    def read(reading: GpuReading) -> GpuReading:
        used = None if used_gib is None else int(used_gib * GIB / (1 + reading.gpu.index))
        load = utilization_percent if reading.gpu.index == 0 else None
        changes = {"sampled_at_s": time_s, "used_memory_bytes": used, "utilization_percent": load}
        return replace(reading, sample=replace(reading.sample, **changes))

    both = two_gpus()
    return replace(both, gpus=tuple(map(read, both.gpus)), sampled_at_s=time_s)


def feed(charts: Charts, used_gib: list[float | None], step_s: float = 5.0) -> None:
    """The last one at NOW_S."""
    for place, value in enumerate(used_gib):
        load = None if value is None else 50
        charts.show_inventory(at(NOW_S - (len(used_gib) - 1 - place) * step_s, value, load))


def values(panel: ChartPanel) -> list[str]:
    return [entry.value for entry in panel.legend.entries()]


def picture(panel: ChartPanel) -> QImage:
    """The area of the curves."""
    corner = panel.plot.mapTo(panel, QPoint(0, 0))
    return panel.grab(QRect(corner, panel.plot.size())).toImage().convertToFormat(QImage.Format.Format_RGBA8888)


def pixels(panel: ChartPanel) -> np.ndarray:
    """Rows, columns, and red, green, blue."""
    image = picture(panel)
    flat = np.frombuffer(image.constBits(), np.uint8).reshape(image.height(), image.bytesPerLine() // 4, 4)
    return flat[:, : image.width(), :3].astype(float)


def drawn_in(panel: ChartPanel, color: str) -> np.ndarray:
    """Which pixels have this colour, or are a blend of it and the panel, as antialiased lines are."""
    ground, full = (np.array([int(c[at : at + 2], 16) for at in (1, 3, 5)]) for c in (theme.tokens().panel, color))
    towards = full - ground
    share = (pixels(panel) - ground) @ towards / (towards @ towards)
    off = np.linalg.norm(pixels(panel) - ground - share[..., None] * towards, axis=-1)
    return (share > 0.35) & (share < 1.2) & (off < 12)


def colored_columns(panel: ChartPanel, color: str) -> set[int]:
    """The pixel columns in which something of this colour is drawn."""
    return {int(x) for x in np.flatnonzero(drawn_in(panel, color).any(axis=0))}
