"""The real window, in a process of its own, while a driver hangs: tells how its event loop fared.

Argument: the file with the answers of NVIDIA's driver, which gets a call that takes 30 s. Prints one JSON document
when the window has been asked to quit.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from e2e.window import quick_settings, until
from launchdeck.compose import in_window
from launchdeck.domain.gpu import GpuReading, GpuState, Inventory
from launchdeck.settings.paths import Paths
from launchdeck.settings.setup import Setup
from launchdeck.ui.application import WindowApplication

WATCHED_S = 8.0
TICK_S = 0.005


@dataclass
class Watch:
    """Every inventory that reached the window."""

    seen: list[tuple[float, Inventory]] = field(default_factory=list)

    def take(self, inventory: Inventory) -> None:
        self.seen.append((time.monotonic(), inventory))

    def latest(self, vendor: str) -> GpuReading | None:
        readings = self.seen[-1][1].gpus if self.seen else ()
        return next((reading for reading in readings if reading.gpu.gpu_type == vendor), None)


async def loop_delays(for_s: float) -> list[float]:
    """How much later than planned a timer of the event loop came, again and again, in seconds."""
    delays = []
    end_s = time.monotonic() + for_s
    while (begin_s := time.monotonic()) < end_s:
        await asyncio.sleep(TICK_S)
        delays.append(time.monotonic() - begin_s - TICK_S)
    return sorted(delays)


async def main(application: WindowApplication) -> int:
    running = asyncio.create_task(application.run())
    await until(lambda: hasattr(application, "sampler"), "the sampler")
    watch = Watch()
    application.sampler.sampled.connect(watch.take)
    await until(lambda: watch.latest("nvidia") and watch.latest("amd"), "both GPUs")
    await until(lambda: application.core.planner.engines is not None, "engines")
    answers = Path(sys.argv[1])
    answers.write_text(answers.read_text() + "delay_ms.Utilization=30000\n")
    hung_at_s = time.monotonic()
    delays = await loop_delays(WATCHED_S)
    during = [inventory for at_s, inventory in watch.seen if at_s > hung_at_s]
    times_s = [at_s for at_s, _ in watch.seen if at_s > hung_at_s]
    stalled = watch.latest("nvidia").sample.state is GpuState.STALLED
    begin_s = time.monotonic()
    application.quit_by_signal()
    await running
    report = {
        "stalled": stalled,
        "cards": [str(card.facts) for card in application.panels.cards.cards()],
        "alert": application.window.notice.text,
        "samples_of_the_other": [inventory.gpus[0].sample.utilization_percent for inventory in during],
        "longest_pause_s": max(b - a for a, b in pairwise(times_s)),
        "p50_ms": 1000 * delays[len(delays) // 2],
        "p99_ms": 1000 * delays[len(delays) * 99 // 100],
        "longest_ms": 1000 * delays[-1],
        "quit_s": time.monotonic() - begin_s,
        "left_at_s": time.time(),
    }
    print(json.dumps(report), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(in_window(Setup.of(Paths.resolve(), settings=quick_settings()), main))
