"""From the start of the process to the first painted frame: Launchdeck's window against a bare QMainWindow.

Both are whole processes on the same interpreter, started in turn; each ends itself at its first frame.
"""

from __future__ import annotations

import os
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


def seconds(script: str) -> float:
    started_s = time.perf_counter()
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
    return time.perf_counter() - started_s


def main() -> None:
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    with tempfile.TemporaryDirectory(prefix="ld-") as home:
        os.environ["LAUNCHDECK_HOME"] = home
        seconds(BARE), seconds(OURS)  # fill the caches
        pairs = [(seconds(BARE), seconds(OURS)) for _ in range(ROUNDS)]
    bare_s, ours_s = (statistics.median(times) for times in zip(*pairs, strict=True))
    ratio = statistics.median(ours / bare for bare, ours in pairs)
    print(f"first painted frame, median of {ROUNDS}: bare {bare_s * 1000:.0f} ms, Launchdeck {ours_s * 1000:.0f} ms")
    print(f"ratio {ratio:.2f} (budget 2.5)")


if __name__ == "__main__":
    main()
