"""What supervision adds to a launch: click to exec, and 200 to "running", against the same command by hand."""

from __future__ import annotations

import asyncio
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "app"), str(ROOT / "tests")]

ROUNDS = 10
BUDGET_EXEC_MS = 100
BUDGET_READY_MS = 300


def clock(folder: Path) -> Path:
    """A program that writes down when it began, as early as a program can."""
    program = folder / "engine"
    program.write_text('#!/bin/sh\ndate +%s.%N > "$1"\nexec sleep 60\n')
    program.chmod(0o755)
    return program


def wait_for(file: Path) -> float:
    while not (file.exists() and file.read_text()):
        time.sleep(0.001)
    return float(file.read_text())


def by_hand(program: Path, file: Path) -> float:
    began_s = time.time()
    process = subprocess.Popen([program, file])
    delay_s = wait_for(file) - began_s
    process.kill()
    process.wait()
    return delay_s


async def by_click(program: Path, folder: Path) -> list[float]:
    """With the launcher that the window uses, from `load` to the engine's first breath."""
    from fakes.serving import Bench, fake_planner
    from launchdeck.serving.process import QtShimLauncher

    def planner(request, port):
        return replace(fake_planner()(request, port), argv=(str(program), str(folder / f"click-{request.n_ctx}")))

    launcher = QtShimLauncher()
    bench = Bench(planner=planner, launcher=launcher, stop_grace_s=0)
    delays = []
    for number in range(ROUNDS):
        began_s = time.time()
        deployment_id = await bench.load(n_ctx=number)
        delays.append(await asyncio.to_thread(wait_for, folder / f"click-{number}") - began_s)
        await bench.manager.stop(deployment_id)
    await bench.manager.close(keep=False)
    launcher.close()
    return delays


async def ready_to_running(folder: Path) -> list[float]:
    """From the moment on that the server would answer 200, to the state "running"."""
    from fakes.serving import Bench, PlainLauncher, fake_planner

    def planner(request, port):
        switches = ("--load-s", 0.5 + 0.037 * request.n_ctx, "--ready-file", folder / f"ready-{request.n_ctx}")
        return fake_planner(*switches)(request, port)

    bench = Bench(planner=planner, launcher=PlainLauncher())
    delays = []
    for number in range(ROUNDS):
        running = await bench.running(n_ctx=number)
        delays.append(running.ready_at_s - float((folder / f"ready-{number}").read_text()))
        await bench.manager.stop(running.id)
    await bench.manager.close(keep=False)
    return delays


def report(what: str, delays: list[float], budget_ms: float) -> None:
    median_ms, worst_ms = statistics.median(delays) * 1000, max(delays) * 1000
    print(f"{what}: median {median_ms:.0f} ms, worst {worst_ms:.0f} ms, {median_ms / budget_ms:.2f} of the budget")


def main() -> None:
    from PySide6.QtCore import QCoreApplication

    folder = Path(tempfile.mkdtemp(prefix="ld-"))
    os.environ["LAUNCHDECK_HOME"] = str(folder / "home")
    application = QCoreApplication([])
    try:
        program = clock(folder)
        hand_s = statistics.median(by_hand(program, folder / f"hand-{number}") for number in range(ROUNDS))
        print(f"by hand, to exec: median {hand_s * 1000:.0f} ms")
        clicks = asyncio.run(by_click(program, folder))
        report("click to exec, over by hand", [delay - hand_s for delay in clicks], BUDGET_EXEC_MS)
        report('200 to "running"', asyncio.run(ready_to_running(folder)), BUDGET_READY_MS)
    finally:
        del application
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
