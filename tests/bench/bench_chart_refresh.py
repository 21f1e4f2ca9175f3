"""A refresh of both charts: 8 GPUs, 24 hours at 5 s, drawn. Beside it the same with pyqtgraph's own downsampling.

Budget: 20 ms. Run with ``python tests/bench/bench_chart_refresh.py``.
"""

from __future__ import annotations

import math
import os
import statistics
import time

import numpy as np
import pyqtgraph as pg
from PySide6.QtWidgets import QApplication, QVBoxLayout, QWidget

from launchdeck.domain.gpu import Gpu, GpuReading, GpuSample, GpuType, Inventory
from launchdeck.monitor.history import History
from launchdeck.ui.charts.charts import Charts
from launchdeck.ui.kit import theme

GPUS = 8
INTERVAL_S = 5.0
RANGE_S = 24 * 3600.0
RUNS = 30
BUDGET_MS = 20.0


GIB = 2**30


def reading(index: int, time_s: float) -> GpuReading:
    """A load that goes up and down, with some noise of its own."""
    wave = math.sin(time_s / (600 + 97 * index)) + 0.2 * math.sin(time_s * (index + 1))
    return GpuReading(
        Gpu(index, f"GPU-{index}", None, f"RTX {index}", GpuType.NVIDIA, 24 * GIB),
        GpuSample(time_s, int((12 + 5 * wave) * GIB), utilization_percent=int(50 + 40 * wave)),
    )


def at(time_s: float) -> Inventory:
    cpu = GpuReading(Gpu(0, "cpu", None, "CPU", GpuType.CPU, 64 * GIB), GpuSample(time_s))
    return Inventory(tuple(reading(index, time_s) for index in range(GPUS)), cpu, "bench", time_s)


def measure_charts(app: QApplication) -> float:
    """Milliseconds from a new sample to both charts on the screen's buffer."""
    charts = Charts(INTERVAL_S)
    charts.resize(760, 370)
    charts.show()
    history = History(INTERVAL_S)
    charts.show_history(history)
    charts.set_range_s(RANGE_S)
    samples = [at(step * INTERVAL_S) for step in range(int(RANGE_S / INTERVAL_S) + RUNS)]
    for sample in samples[:-RUNS]:
        history.append(sample)
    took_ms = []
    for sample in samples[-RUNS:]:
        started = time.perf_counter()
        charts.show_inventory(sample)
        charts.refresh()  # even where the pixels would stay the same
        app.processEvents()
        took_ms.append((time.perf_counter() - started) * 1000)
    return statistics.median(took_ms)


def measure_plain(app: QApplication) -> float:
    """The same points in two plain PlotWidgets that thin them out themselves."""
    window = QWidget()
    window.resize(760, 370)
    layout = QVBoxLayout(window)
    offsets_s = np.arange(-RANGE_S, 0, INTERVAL_S)
    curves = []
    for _ in range(2):
        plot = pg.PlotWidget()
        plot.setDownsampling(auto=True, mode="peak")
        plot.setClipToView(True)
        plot.setXRange(-RANGE_S, 0, padding=0)
        plot.setYRange(0, 100, padding=0)
        layout.addWidget(plot)
        curves += [plot.plot(antialias=True, connect="finite", pen=pg.mkPen(index, width=1)) for index in range(GPUS)]
    window.show()
    noise = np.random.default_rng(1)
    data = [50 + 40 * np.sin(offsets_s / 600 + n) + noise.normal(0, 5, len(offsets_s)) for n in range(len(curves))]
    took_ms = []
    for _ in range(RUNS):
        started = time.perf_counter()
        for curve, values in zip(curves, data, strict=True):
            curve.setData(offsets_s, values)
        app.processEvents()
        took_ms.append((time.perf_counter() - started) * 1000)
    return statistics.median(took_ms)


def main() -> None:
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    app = QApplication([])
    theme.apply(app, "dark")
    ours_ms, plain_ms = measure_charts(app), measure_plain(app)
    print(f"refresh of both charts, {GPUS} GPUs, 24 h at {INTERVAL_S:g} s: {ours_ms:.1f} ms (budget {BUDGET_MS:g} ms)")
    print(f"pyqtgraph's own downsampling: {plain_ms:.1f} ms")
    print(f"ratio: {ours_ms / plain_ms:.2f}")


if __name__ == "__main__":
    main()
