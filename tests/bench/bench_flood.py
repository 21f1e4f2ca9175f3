"""Three engines that write as much as they can while the window is open: its memory, how late it answers, the files."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "app"), str(ROOT / "tests")]
os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

CHILDREN = 3
MIB_EACH = 3000
SECONDS = 30
BEAT_S = 0.02
BUDGET_MIB = 100
BUDGET_DELAY_MS = 50


def main() -> None:
    from e2e.real_application import application, resident_mib, took
    from launchdeck.serving.shim_log import segments

    with application(log_limit_mib=32, stall_timeout_s=600.0) as app:
        app.start()
        app.running("quiet")
        time.sleep(3)
        before_mib = highest_mib = resident_mib(app.pid)
        alone = sorted(took(lambda: app.http.get("/ping")) for _ in range(300))
        ids = [app.load(f"flood-{n}", "--flood-mib", MIB_EACH)["id"] for n in range(CHILDREN)]
        began_s, late = time.monotonic(), []
        while time.monotonic() - began_s < SECONDS:
            late.append(took(lambda: app.http.get("/ping")))
            highest_mib = max(highest_mib, resident_mib(app.pid))
            time.sleep(BEAT_S)
        written = [sum(size for _, size in segments(str(app.paths.records / key))) / 2**20 for key in ids]
        dropped = [any("bytes dropped" in line for line in app.lines(f"flood-{n}")) for n in range(CHILDREN)]
        shims = [resident_mib(app.shim(key)) for key in ids]
    late.sort()
    p99_ms, alone_ms = late[len(late) * 99 // 100] * 1000, alone[len(alone) * 99 // 100] * 1000
    print(
        f"window: {before_mib:.0f} MiB, {highest_mib - before_mib:+.0f} under the flood, "
        f"{(highest_mib - before_mib) / BUDGET_MIB:.2f} of the budget; shims {max(shims):.0f} MiB at most"
    )
    print(
        f"a /ping through the window's loop: p99 {p99_ms:.0f} ms (alone {alone_ms:.0f}), "
        f"{p99_ms / BUDGET_DELAY_MS:.2f} of the budget"
    )
    print(f"log files: {', '.join(f'{size:.0f}' for size in written)} MiB of 32; bytes dropped said: {dropped}")


if __name__ == "__main__":
    main()
