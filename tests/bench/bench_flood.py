"""Three engines that write as much as they can while the window is open, at first with another tab in front, then with
the log of one of them: the window's memory and its share of a core, how late its event loop gets, what the shims take,
and the files. Arguments are further switches of the fake server.

The window measures its own loop; it runs in a process of its own, this file again with "window" as its argument.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "app"), str(ROOT / "tests")]
os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

if TYPE_CHECKING:
    from e2e.real_application import RealApplication
    from launchdeck.ui.application import WindowApplication

CHILDREN = 3
MIB_EACH = 100_000  # more than there is time for
SECONDS = 30
BEAT_S = 0.005
LOG_LIMIT_MIB = 32
BUDGET_MIB = 100
BUDGET_DELAY_MS = 50
SHOW_LOG = "show-log"
"""A file of this name in the state folder, with a deployment's id in it, asks the window to show that log."""
MIB = 2**20

Beats = list[tuple[float, float]]
"""When a timer of the loop was due (monotonic seconds), and how many milliseconds later it came."""


async def watched_window(application: WindowApplication) -> int:
    from launchdeck.ending import Ending
    from launchdeck.settings.paths import Paths

    ending = Ending()
    ending.listen()
    ending.call(application.quit_by_signal)
    running = asyncio.create_task(application.run())
    beats: Beats = []
    wanted = Paths.resolve().state / SHOW_LOG
    while not running.done():
        if len(beats) % 200 == 0 and wanted.exists():
            show_log(application, wanted.read_text())
            wanted.unlink()
        due_s = time.monotonic() + BEAT_S
        await asyncio.sleep(BEAT_S)
        beats.append((due_s, (time.monotonic() - due_s) * 1000))
    await running
    (Paths.resolve().state / "beats.json").write_text(json.dumps(beats))
    return 0


def show_log(application: WindowApplication, deployment_id: str) -> None:
    from launchdeck.ui.deployments.log_view import LogTab

    application.panels.deployments.select(deployment_id)
    tabs = application.panels.tabs
    tabs.setCurrentWidget(tabs.findChild(LogTab))


def window() -> int:
    from launchdeck.compose import in_window
    from launchdeck.settings.paths import Paths
    from launchdeck.settings.setup import Setup

    return in_window(Setup.of(Paths.resolve()), watched_window)


def delays_ms(beats: Beats, begin_s: float) -> tuple[float, float, float]:
    """p50, p99 and the longest from this moment on for as long as a phase takes."""
    late = sorted(ms for due_s, ms in beats if begin_s <= due_s < begin_s + SECONDS)
    return late[len(late) // 2], late[len(late) * 99 // 100], late[-1]


@dataclass(frozen=True)
class Phase:
    """What the window took in some seconds: memory at most, and its share of a core."""

    name: str
    began_s: float
    mib: float
    core_percent: float


def watch(name: str, pid: int) -> Phase:
    import psutil

    from e2e.real_application import resident_mib

    process = psutil.Process(pid)
    before = process.cpu_times()
    began_s, highest = time.monotonic(), 0.0
    while time.monotonic() < began_s + SECONDS:
        highest = max(highest, resident_mib(pid))
        time.sleep(0.1)
    after = process.cpu_times()
    used_s = after.user + after.system - before.user - before.system
    return Phase(name, began_s, highest, 100 * used_s / (time.monotonic() - began_s))


def tell_logs(app: RealApplication, ids: list[str]) -> None:
    from launchdeck.serving.shim.log import segments

    for number, key in enumerate(ids):
        files = segments(str(app.paths.records / key))
        written_mib, kept_mib = (files[-1][0] + files[-1][1]) / MIB, sum(size for _, size in files) / MIB
        dropped = [line for line in app.lines(f"flood-{number}") if line.endswith("bytes dropped]")]
        print(
            f"model {number}: {written_mib:.0f} MiB written, {kept_mib:.1f} MiB of "
            f"{LOG_LIMIT_MIB} kept, {len(dropped)} times bytes dropped, the last: {dropped[-1] if dropped else None}"
        )


def main() -> None:
    from e2e.real_application import application, resident_mib

    with application(log_limit_mib=LOG_LIMIT_MIB, stall_timeout_s=600.0) as app:
        app.start((__file__, "window"))
        app.running("quiet")
        time.sleep(3)
        phases = [watch("alone", app.pid)]
        switches = ("--flood-mib", MIB_EACH, *sys.argv[1:])
        ids = [app.load(f"flood-{number}", *switches)["id"] for number in range(CHILDREN)]
        shims = [app.shim(key) for key in ids if app.tree(key)]
        phases.append(watch("flood", app.pid))
        (app.paths.state / SHOW_LOG).write_text(ids[-1])
        time.sleep(2)
        phases.append(watch("flood, its log open", app.pid))
        shims_mib = max(map(resident_mib, shims))
        tell_logs(app, ids)
        app.terminate()
        beats: Beats = json.loads((app.paths.state / "beats.json").read_text())
    print(f"a shim: {shims_mib:.0f} MiB at most")
    for phase in phases:
        grown_mib = phase.mib - phases[0].mib
        p50_ms, p99_ms, longest_ms = delays_ms(beats, phase.began_s)
        print(
            f"window, {phase.name}: {phase.mib:.0f} MiB, {grown_mib:+.0f}, {grown_mib / BUDGET_MIB:.2f} of the budget; "
            f"{phase.core_percent:.0f} % of a core; event loop late p50 {p50_ms:.1f} ms, p99 {p99_ms:.1f} ms, "
            f"{p99_ms / BUDGET_DELAY_MS:.2f} of the budget, longest {longest_ms:.0f} ms"
        )


if __name__ == "__main__":
    sys.exit(window() if sys.argv[1:] == ["window"] else main())
