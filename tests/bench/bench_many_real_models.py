"""Twenty models of a real llama-server under the window: the share of a core and the memory of window and shims."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "app"), str(ROOT / "tests")]
os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

MODELS = 20
SECONDS = 30


def own_mib(pid: int) -> float:
    """What only this process holds: the rest it shares with others of its kind."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) / 1024


def main() -> None:
    from bench_many_models import cpu_s

    from e2e.real_application import application, resident_mib
    from truth.engine import engine_folders

    engine = engine_folders()[0] / "llama-server"
    with application(engine, probe_interval_s=2.0, sampling_interval_s=5.0) as app:
        app.start()
        time.sleep(5)
        idle = cpu_s([app.pid])
        time.sleep(SECONDS)
        idle = cpu_s([app.pid]) - idle
        alone_mib = resident_mib(app.pid)
        names = [f"model-{number:02}" for number in range(MODELS)]
        ids = [app.running(name, n_threads=1)["id"] for name in names]
        shims = [app.shim(key) for key in ids]
        time.sleep(5)
        before = cpu_s([app.pid]), cpu_s(shims)
        time.sleep(SECONDS)
        window, supervisors = cpu_s([app.pid]) - before[0], cpu_s(shims) - before[1]
        print(
            f"{MODELS} models: window {window / SECONDS:.2%} of a core ({idle / SECONDS:.2%} without models), "
            f"shims together {supervisors / SECONDS:.2%}"
        )
        print(
            f"memory: window {resident_mib(app.pid):.0f} MiB ({alone_mib:.0f} without models), a shim "
            f"{max(map(resident_mib, shims)):.1f} MiB, of which its own {max(map(own_mib, shims)):.1f} MiB"
        )


if __name__ == "__main__":
    main()
