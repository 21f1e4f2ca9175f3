"""Fifty times kill -9 of `launchdeck serve` and of all its supervisors together, while three models load whose engines
start workers in sessions of their own one after the other: how many processes are left after the next start.

`bench_orphans.py [ROUNDS] [shims]`: with "shims" the supervisors alone are killed, and the application lives on.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "app"), str(ROOT / "tests")]

ROUNDS = 50
LONGEST_LIFE_S = 1.2


def measure(rounds: int, *, shims_only: bool) -> list[tuple[int, int]]:
    """How many processes outlived the kill in each round (shims alone: not counted), and how many were left."""
    from e2e.orphans import forget_all, kill_all, kill_shims_alone
    from e2e.real_application import WITHOUT_WINDOW, application
    from launchdeck.serving.sweeping import sweep

    dice, results = random.Random(rounds), []
    with application() as app:
        app.command = WITHOUT_WINDOW
        app.start()
        for _ in range(rounds):
            life_s, outlived = dice.uniform(0, LONGEST_LIFE_S), 0
            if shims_only:
                kill_shims_alone(app, life_s)
            else:
                outlived = len(kill_all(app, life_s))
                app.start()
            left = forget_all(app)
            results.append((outlived, len(left)))
            sweep(left, 10)  # the next round counts its own
    return results


def main() -> None:
    shims_only = "shims" in sys.argv
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    results = measure(rounds, shims_only=shims_only)
    dirty = [left for _, left in results if left]
    print(
        f"{rounds} kills of {'the supervisors' if shims_only else 'application and supervisors'}: "
        f"{sum(outlived for outlived, _ in results)} processes outlived them, {sum(dirty)} were left in the end, "
        f"in {len(dirty)} rounds"
    )


if __name__ == "__main__":
    main()
