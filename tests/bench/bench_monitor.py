"""What it costs to watch eight GPUs once a second with the window visible, against nvitop on the same driver, at the
same time.

The driver is the stand-in of the tests. Seconds of watching: first argument, 60 without one. nvitop is taken from
the PATH, or from the environment variable NVITOP.
"""

from __future__ import annotations

import os
import pty
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).parents[1]))

from fakes.nvml import FakeNvml, build

SETTLE_S = 8.0

READING = """
import time
from launchdeck.hardware.unified import UnifiedGPUDetector
detector = UnifiedGPUDetector()
assert len(detector.read().gpus) == 8
for _ in range(200):
    begin_s = time.perf_counter()
    detector.read()
    print(time.perf_counter() - begin_s)
"""

SAMPLER = """
from PySide6.QtCore import QCoreApplication
from launchdeck.hardware.unified import UnifiedGPUDetector
from launchdeck.monitor.history import History
from launchdeck.monitor.sampler import Sampler
application, history, sampler = QCoreApplication([]), History(1.0), Sampler(UnifiedGPUDetector, 1.0)
sampler.sampled.connect(history.append)
sampler.start()
application.exec()
"""

WINDOW = """
import argparse
from launchdeck.compose import run_window
run_window(argparse.Namespace())
"""


def cpu_shares(commands: Sequence[list[str]], environment: dict[str, str], seconds: float) -> list[float]:
    """The part of a core that each of these programs, all running at the same time, takes once they have settled."""
    with ExitStack() as running:
        processes = [running.enter_context(_in_terminal(command, environment)) for command in commands]
        time.sleep(SETTLE_S)
        before_s = [_cpu_seconds(process.pid) for process in processes]
        time.sleep(seconds)
        assert all(process.poll() is None for process in processes), "a program has ended"
        return [
            (_cpu_seconds(process.pid) - earlier_s) / seconds
            for process, earlier_s in zip(processes, before_s, strict=True)
        ]


@contextmanager
def _in_terminal(command: list[str], environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """In a terminal of its own, whose screen nobody reads."""
    master, slave = pty.openpty()
    with subprocess.Popen(command, env=environment, stdin=slave, stdout=slave, stderr=slave) as process:
        os.close(slave)
        threading.Thread(target=_drain, args=(master,), daemon=True).start()
        try:
            yield process
        finally:
            process.kill()


def _drain(terminal: int) -> None:
    try:
        while os.read(terminal, 65536):
            pass
    except OSError:
        pass  # the program has ended


def _cpu_seconds(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return times.user + times.system


def reading_ms(environment: dict[str, str]) -> float:
    command = [sys.executable, "-c", READING]
    result = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    return statistics.median(map(float, result.stdout.split())) * 1000


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 60.0
    with tempfile.TemporaryDirectory(prefix="ld-") as folder:
        home = Path(folder)
        nvml = FakeNvml(build(home), home)
        for place in range(8):
            nvml.add_gpu(compute=f"{os.getpid()}:{2**30}", util=10 * place)
        del nvml.environment["LAUNCHDECK_FAKE_NVML_CALLS"]  # writing them down would be most of what is measured
        (home / "config").mkdir()
        (home / "config/settings.toml").write_text("sampling_interval_s = 1.0\n", encoding="utf-8")
        environment = os.environ | nvml.environment | {"LAUNCHDECK_HOME": folder, "TERM": "xterm-256color"}
        environment.setdefault("QT_QPA_PLATFORM", "offscreen")
        print(f"one reading of 8 GPUs: {reading_ms(environment):.2f} ms")
        (sampler,) = cpu_shares([[sys.executable, "-c", SAMPLER]], environment, seconds)
        print(f"sampler and history alone at 1 Hz: {sampler:.2%} of a core")
        window = [sys.executable, "-c", WINDOW]
        nvitop = os.environ.get("NVITOP") or shutil.which("nvitop")
        if nvitop is None:
            (ours,) = cpu_shares([window], environment, seconds)
            print(f"the window at 1 Hz: {ours:.2%} of a core (budget 2 %)")
            print("nvitop is not on the PATH: nothing to compare with")
            return
        ours, theirs = cpu_shares([window, [nvitop, "--monitor", "full", "--interval", "1"]], environment, seconds)
        print(f"the window at 1 Hz: {ours:.2%} of a core (budget 2 %), nvitop beside it: {theirs:.2%}")
        print(f"ratio {ours / theirs:.2f} (budget 1.0)")


if __name__ == "__main__":
    main()
