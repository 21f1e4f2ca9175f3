"""From the start of the process to the first painted frame: Launchdeck's window against a bare QMainWindow.

Both are whole processes on the same interpreter, started in turn; each ends itself at its first frame. Bytecode is
cached, as it is wherever an application has been started before. Besides the time on the wall, which a busy machine
stretches, the processor time is compared.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time

ROUNDS = 15

BARE = """
import os, sys
from PySide6.QtWidgets import QApplication, QMainWindow
from PySide6.QtCore import QTimer
class Window(QMainWindow):
    def paintEvent(self, event):
        super().paintEvent(event)
        QTimer.singleShot(0, lambda: os._exit(0))
app = QApplication(sys.argv)
window = Window()
window.resize(1440, 900)
window.show()
app.exec()
"""

OURS = """
import argparse, os
from launchdeck.compose import run_window
run_window(argparse.Namespace(), on_painted=lambda: os._exit(0))
"""


def seconds(script: str) -> tuple[float, float]:
    """On the wall, and of processor time."""
    started_s, before_s = time.perf_counter(), _children_cpu_s()
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
    return time.perf_counter() - started_s, _children_cpu_s() - before_s


def _children_cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    with tempfile.TemporaryDirectory(prefix="ld-") as home, tempfile.TemporaryDirectory() as bytecode:
        os.environ |= {"LAUNCHDECK_HOME": home, "PYTHONPYCACHEPREFIX": bytecode}
        seconds(BARE), seconds(OURS)  # fill the caches
        pairs = [(seconds(BARE), seconds(OURS)) for _ in range(ROUNDS)]
    print(f"to the first painted frame, medians of {ROUNDS}")
    for place, name in enumerate(("time on the wall", "processor time")):
        bare_s, ours_s = (statistics.median(times[place] for times in side) for side in zip(*pairs, strict=True))
        ratio = statistics.median(ours[place] / bare[place] for bare, ours in pairs)
        print(f"{name}: bare window {bare_s * 1000:.0f} ms, Launchdeck {ours_s * 1000:.0f} ms")
        print(f"ratio {ratio:.2f} (budget 2.5)")


if __name__ == "__main__":
    main()
