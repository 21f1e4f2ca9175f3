"""Resident memory while eight GPUs are watched once a second, against a bare PySide6 + pyqtgraph window.

The GPUs are replayed from a recording. Seconds of watching: first argument, 600 without one.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

BARE = """
import sys
import numpy, psutil, pyqtgraph
from PySide6.QtWidgets import QApplication, QMainWindow
from PySide6.QtCore import QTimer
app = QApplication(sys.argv)
window = QMainWindow()
plots = pyqtgraph.GraphicsLayoutWidget()
for row in range(2):
    plot = plots.addPlot(row=row, col=0)
    for curve in range(8):
        plot.plot(numpy.arange(720.0), numpy.random.rand(720))
window.setCentralWidget(plots)
window.resize(1440, 900)
window.show()
QTimer.singleShot(5000, app.quit)
app.exec()
print(psutil.Process().memory_info().rss)
"""

OURS = """
import argparse, os, pathlib, sys
import psutil
from PySide6.QtCore import QTimer
from launchdeck.compose import run_window
def done():
    print(psutil.Process().memory_info().rss, flush=True)
    os._exit(0)
run_window(
    argparse.Namespace(inventory=pathlib.Path(sys.argv[1])),
    on_painted=lambda: QTimer.singleShot(int(float(sys.argv[2]) * 1000), done),
)
"""


def recorded_gpus(count: int) -> dict[str, object]:
    """An inventory document with that many GPUs."""
    gpus = [
        {
            "index": index, "uuid": f"GPU-{index:08d}", "pci_address": f"0000:{index + 1:02x}:00.0",
            "name": "NVIDIA H100 80GB HBM3", "gpu_type": "nvidia", "total_memory_mb": 81559,
            "used_memory_mb": 1000 * index, "free_memory_mb": 81559 - 1000 * index, "utilization_percent": 10 * index,
            "temperature_c": 40 + index, "power_watts": 100.0 + index, "state": "active", "processes": [],
        }
        for index in range(count)
    ]  # fmt: skip
    return {"gpus": gpus, "total": count, "detector": "NVMLDetector"}


def resident_mib(script: str, *arguments: str) -> float:
    result = subprocess.run([sys.executable, "-c", script, *arguments], check=True, capture_output=True, text=True)
    return int(result.stdout.split()[-1]) / 1024**2


def main() -> None:
    seconds = sys.argv[1] if len(sys.argv) > 1 else "600"
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    with tempfile.TemporaryDirectory(prefix="ld-") as home:
        os.environ["LAUNCHDECK_HOME"] = home
        settings = Path(home) / "config" / "settings.toml"
        settings.parent.mkdir()
        settings.write_text("sampling_interval_s = 1.0\n", encoding="utf-8")
        recorded = Path(home) / "inventory.json"
        recorded.write_text(json.dumps(recorded_gpus(8)), encoding="utf-8")
        bare_mib = resident_mib(BARE)
        ours_mib = resident_mib(OURS, str(recorded), seconds)
    print(f"after {seconds} s with 8 GPUs: bare {bare_mib:.0f} MiB, Launchdeck {ours_mib:.0f} MiB")
    print(f"ratio {ours_mib / bare_mib:.2f} (budget 1.6)")


if __name__ == "__main__":
    main()
