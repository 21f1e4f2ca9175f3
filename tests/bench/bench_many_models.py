"""What it takes to supervise 20 models that run and chatter: processor time, and how late the event loop gets."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "app"), str(ROOT / "tests")]

MODELS = 20
SECONDS = 20
BEAT_S = 0.01
BUDGET_CORE_PERCENT = 5
BUDGET_DELAY_MS = 16


def cpu_s(pids: list[int]) -> float:
    """Processor time of these processes so far."""
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


async def loop_delays(seconds: float) -> list[float]:
    """How much later than asked for every beat came, in order of size."""
    delays = []
    end_s = time.monotonic() + seconds
    while (began_s := time.monotonic()) < end_s:
        await asyncio.sleep(BEAT_S)
        delays.append(time.monotonic() - began_s - BEAT_S)
    return sorted(delays)


async def measure() -> None:
    from fakes.serving import Bench
    from launchdeck.serving.records.records import read_records
    from launchdeck.settings.paths import Paths

    idle = cpu_s([os.getpid()])
    beats_alone = await loop_delays(SECONDS)
    beating_s = cpu_s([os.getpid()]) - idle
    bench = Bench("--chatter", last_port=65535, probe_interval_s=2.0)
    for _ in range(MODELS):
        await bench.running()
    supervisors = [record.status.shim[0] for record in read_records(Paths.resolve().records)]
    before = cpu_s([os.getpid()]), cpu_s(supervisors)
    delays = await loop_delays(SECONDS)
    ours, shims = cpu_s([os.getpid()]) - before[0] - beating_s, cpu_s(supervisors) - before[1]
    await bench.manager.close(keep=False)
    percent = (ours + shims) / SECONDS * 100
    p99_ms, alone_ms = delays[int(len(delays) * 0.99)] * 1000, beats_alone[int(len(beats_alone) * 0.99)] * 1000
    print(
        f"{MODELS} models: application {ours / SECONDS:.1%} and shims {shims / SECONDS:.1%} of a core, "
        f"{percent / BUDGET_CORE_PERCENT:.2f} of the budget"
    )
    print(f"event loop late: p99 {p99_ms:.1f} ms (alone {alone_ms:.1f}), {p99_ms / BUDGET_DELAY_MS:.2f} of the budget")


def main() -> None:
    folder = Path(tempfile.mkdtemp(prefix="ld-"))
    os.environ["LAUNCHDECK_HOME"] = str(folder)
    try:
        asyncio.run(measure())
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
