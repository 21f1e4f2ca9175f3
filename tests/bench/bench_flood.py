"""Three engines that write as much as they can while the window is open: the window's memory, how late its event loop
gets, what the shims take, and the files. Arguments are further switches of the fake server.

The window measures its own loop; it runs in a process of its own, this file again with "window" as its argument.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
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
MIB = 2**20

Beats = list[tuple[float, float]]
"""When a timer of the loop was due (monotonic seconds), and how many milliseconds later it came."""


async def watched_window(application: WindowApplication) -> int:
    from launchdeck.compose import on_signals
    from launchdeck.settings.paths import Paths

    on_signals(application.quit_by_signal)
    running = asyncio.create_task(application.run())
    beats: Beats = []
    while not running.done():
        due_s = time.monotonic() + BEAT_S
        await asyncio.sleep(BEAT_S)
        beats.append((due_s, (time.monotonic() - due_s) * 1000))
    await running
    (Paths.resolve().state / "beats.json").write_text(json.dumps(beats))
    return 0


def window() -> int:
    from launchdeck.compose import in_window
    from launchdeck.settings.paths import Paths
    from launchdeck.settings.setup import Setup

    return in_window(Setup.of(Paths.resolve()), watched_window)


def delays_ms(beats: Beats, begin_s: float) -> tuple[float, float, float]:
    """p50, p99 and the longest from this moment on for as long as a phase takes."""
    late = sorted(ms for due_s, ms in beats if begin_s <= due_s < begin_s + SECONDS)
    return late[len(late) // 2], late[len(late) * 99 // 100], late[-1]


def highest_mib(pids: list[int]) -> float:
    """What these processes held at most, together, in the next seconds."""
    from e2e.real_application import resident_mib

    until_s, highest = time.monotonic() + SECONDS, 0.0
    while time.monotonic() < until_s:
        highest = max(highest, sum(map(resident_mib, pids)))
        time.sleep(0.1)
    return highest


def tell_logs(app: RealApplication, ids: list[str]) -> None:
    from launchdeck.serving.shim_log import segments

    for number, key in enumerate(ids):
        files = segments(str(app.paths.records / key))
        written_mib, kept_mib = (files[-1][0] + files[-1][1]) / MIB, sum(size for _, size in files) / MIB
        dropped = [line for line in app.lines(f"flood-{number}") if line.endswith("bytes dropped]")]
        print(
            f"model {number}: {written_mib / SECONDS:.0f} MiB/s written, {kept_mib:.1f} MiB of "
            f"{LOG_LIMIT_MIB} kept, {len(dropped)} times bytes dropped, the last: {dropped[-1] if dropped else None}"
        )


def main() -> None:
    from e2e.real_application import application, resident_mib

    with application(log_limit_mib=LOG_LIMIT_MIB, stall_timeout_s=600.0) as app:
        app.start((__file__, "window"))
        app.running("quiet")
        time.sleep(3)
        alone_s, alone_mib = time.monotonic(), highest_mib([app.pid])
        switches = ("--flood-mib", MIB_EACH, *sys.argv[1:])
        ids = [app.load(f"flood-{number}", *switches)["id"] for number in range(CHILDREN)]
        shims = [app.shim(key) for key in ids if app.tree(key)]
        flood_s, flood_mib = time.monotonic(), highest_mib([app.pid])
        shims_mib = max(map(resident_mib, shims))
        tell_logs(app, ids)
        app.terminate()
        beats: Beats = json.loads((app.paths.state / "beats.json").read_text())
    grown_mib = flood_mib - alone_mib
    print(
        f"window: {alone_mib:.0f} MiB, {grown_mib:+.0f} under the flood, {grown_mib / BUDGET_MIB:.2f} of the budget; "
        f"a shim {shims_mib:.0f} MiB at most"
    )
    for phase, begin_s in (("alone", alone_s), ("flood", flood_s)):
        p50_ms, p99_ms, longest_ms = delays_ms(beats, begin_s)
        print(
            f"event loop late, {phase}: p50 {p50_ms:.1f} ms, p99 {p99_ms:.1f} ms, {p99_ms / BUDGET_DELAY_MS:.2f} of "
            f"the budget, longest {longest_ms:.0f} ms"
        )


if __name__ == "__main__":
    sys.exit(window() if sys.argv[1:] == ["window"] else main())
