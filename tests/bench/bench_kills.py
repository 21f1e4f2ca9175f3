"""Fifty times kill -9 of the real application while five models chatter and answer: models kept, how long the next
start takes to adopt them, and until its interface shows all of them again, imports and all. Without an argument it is
the window that is killed; with "serve", the application without one.
"""

from __future__ import annotations

import os
import random
import re
import statistics
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "app"), str(ROOT / "tests")]
os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

if TYPE_CHECKING:
    from e2e.real_application import RealApplication

Known = dict[str, tuple[int, str, list[int]]]
"""The port, the key and the processes of every model that runs, by its id."""

MODELS = 5
KILLS = 50
LONGEST_LIFE_S = 0.5
LOAD_INTERVAL_S = 0.05
BUDGET_S = 2.0
ADOPTED = re.compile(r"(\d+) models were taken over in (\d+) ms")


class Load:
    """Asks every model again and again, whatever becomes of the application."""

    def __init__(self, ports: list[int]) -> None:
        self.answers = self.misses = 0
        self._ports = ports
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._ask)
        self._thread.start()

    def _ask(self) -> None:
        from fakes.serving import answers

        while not self._end.wait(LOAD_INTERVAL_S):
            told = [answers(port) for port in self._ports]
            self.answers += sum(told)
            self.misses += len(told) - sum(told)

    def end(self) -> None:
        self._end.set()
        self._thread.join()


def running(app: RealApplication) -> Known:
    entries = [entry for entry in app.entries() if entry["state"] == "running"]
    return {entry["id"]: (entry["port"], entry["api_key"], app.tree(entry["id"])) for entry in entries}


def measure(app: RealApplication) -> tuple[int, list[float]]:
    """How many models were still the same after each kill, together; and how long each start took (seconds)."""
    from fakes.serving import until

    dice, kept, times_s = random.Random(KILLS), 0, []
    before = running(app)
    for _ in range(KILLS):
        time.sleep(dice.uniform(0, LONGEST_LIFE_S))
        app.kill()
        began_s = time.monotonic()
        app.start()
        until(lambda: len(running(app)) >= MODELS, "the models", 10 * BUDGET_S)
        times_s.append(time.monotonic() - began_s)
        now = running(app)
        kept += sum(now.get(key) == facts for key, facts in before.items())
    return kept, times_s


def main() -> None:
    from e2e.real_application import application
    from fakes.serving import processes_of

    with application() as app:
        app.command = ("-m", "launchdeck", "--verbose", *sys.argv[1:])
        app.start()
        for number in range(MODELS):
            app.running(f"model-{number}", "--chatter")
        load = Load([port for port, *_ in running(app).values()])
        kept, times_s = measure(app)
        load.end()
        for entry in app.entries():
            app.stop(entry["id"])
        app.terminate()
        time.sleep(1)  # the shims go when they have told that theirs is over
        orphans = processes_of(app.home)
        adoptions_s = [int(ms) / 1000 for count, ms in ADOPTED.findall(app.errors) if int(count) == MODELS]
    print(
        f"{KILLS} kills of 'launchdeck {' '.join(sys.argv[1:])}', {MODELS} models: {kept} of {KILLS * MODELS} kept, "
        f"{len(orphans)} orphans; under load {load.answers} answers, {load.misses} misses"
    )
    for what, taken_s in (("adoption", adoptions_s), ("from the start to all models shown", times_s)):
        print(
            f"{what}, {len(taken_s)} times: median {statistics.median(taken_s) * 1000:.0f} ms, worst "
            f"{max(taken_s) * 1000:.0f} ms, {max(taken_s) / BUDGET_S:.2f} of the budget"
        )


if __name__ == "__main__":
    main()
