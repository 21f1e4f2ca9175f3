"""Resident memory after a week of watching eight GPUs every five seconds, against the first day of it, whose 24 hours
fill the history. The week is simulated: every reading reaches history, charts, cards, alerts and file as in the window,
one in a hundred is drawn.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import psutil
from PySide6.QtWidgets import QApplication, QHBoxLayout, QWidget

sys.path.insert(0, str(Path(__file__).parents[1]))

from fakes.samples import gpu, inventory
from launchdeck.domain.gpu import GpuReading, GpuType, Inventory
from launchdeck.monitor.alerts import AlertWatch
from launchdeck.monitor.history import History
from launchdeck.monitor.history_store import HistoryStore
from launchdeck.settings.schema import Settings
from launchdeck.ui.charts.charts import Charts
from launchdeck.ui.gpus.gpu_cards import GpuCards
from launchdeck.ui.kit import theme

INTERVAL_S = 5.0
DAY_S = 86_400
DAYS = 7
SAVED_EVERY = 60  # readings: five minutes
DRAWN_EVERY = 100


def at(time_s: float, step: int) -> Inventory:
    """Eight GPUs whose values change with every reading; one of them is lost now and then."""

    def moved(reading: GpuReading) -> GpuReading:
        load = (step * (reading.gpu.index + 3)) % 101
        changes = {"sampled_at_s": time_s, "utilization_percent": load, "temperature_c": load}
        if reading.gpu.index == 7 and step % 1000 < 3:
            changes["used_memory_bytes"] = None
        return replace(reading, sample=replace(reading.sample, **changes))

    now = inventory(*(gpu(index, "NVIDIA H100 80GB HBM3", GpuType.NVIDIA, 80, 10 + index) for index in range(8)))
    return replace(now, gpus=tuple(map(moved, now.gpus)), cpu=moved(now.cpu), sampled_at_s=time_s)


def main() -> None:
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    app = QApplication([])
    theme.apply(app, "dark")
    window = QWidget()
    charts, cards, alerts = Charts(INTERVAL_S), GpuCards(), AlertWatch()
    layout = QHBoxLayout(window)
    layout.addWidget(cards)
    layout.addWidget(charts)
    window.resize(1100, 500)
    charts.show_history(History(INTERVAL_S))
    history = charts._history
    assert history is not None
    begin_s = time.time() - DAYS * DAY_S
    mib: list[float] = []
    with tempfile.TemporaryDirectory(prefix="ld-") as folder:
        store = HistoryStore(Path(folder) / "history.npz")
        for step in range(int(DAYS * DAY_S / INTERVAL_S)):
            now = at(begin_s + step * INTERVAL_S, step)
            window.setVisible(step % DRAWN_EVERY == 0)
            charts.show_inventory(now)
            alerts.observe(now, Settings())
            if step % DRAWN_EVERY == 0:
                cards.show_inventory(now)
                app.processEvents()
            if step % SAVED_EVERY == 0:
                store.save(history.rows(now.sampled_at_s))
            if (step + 1) % int(DAY_S / INTERVAL_S) == 0:
                mib.append(psutil.Process().memory_info().rss / 1024**2)
                print(f"after day {len(mib)}: {mib[-1]:.1f} MiB", flush=True)
    print(f"ratio {mib[-1] / mib[0]:.2f} (a week against its first day)")


if __name__ == "__main__":
    main()
