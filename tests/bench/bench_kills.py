"""Fifty times kill -9 of the application while five models chatter: models kept, and how long adoption takes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import statistics
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "app"), str(ROOT / "tests")]

MODELS = 5
KILLS = 50
BUDGET_S = 2.0


def measure(home: Path) -> None:
    from fakes.serving import Application, processes_of, until
    from launchdeck.serving import direct
    from launchdeck.settings.paths import Paths

    first = Application(MODELS, "keep", "--chatter")
    first.kill()
    times_s, kept = [], 0
    for _ in range(KILLS):
        again = Application(MODELS, "keep", "--chatter")
        again.kill()
        times_s.append(again.adoption_s)
        kept += sum(model in again.models for model in first.models)
    asyncio.run(direct.stop_all(Paths.resolve()))
    with contextlib.suppress(AssertionError):
        until(lambda: not processes_of(home), "the shims to go")
    worst_s = max(times_s)
    print(f"{KILLS} kills, {MODELS} models: {kept} of {KILLS * MODELS} kept, {len(processes_of(home))} orphans")
    print(
        f"adoption: median {statistics.median(times_s) * 1000:.0f} ms, worst {worst_s * 1000:.0f} ms, "
        f"{worst_s / BUDGET_S:.2f} of the budget"
    )


def main() -> None:
    folder = Path(tempfile.mkdtemp(prefix="ld-"))
    os.environ["LAUNCHDECK_HOME"] = str(folder)
    try:
        measure(folder)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
