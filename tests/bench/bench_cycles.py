"""Models that are loaded, write their logs full and are unloaded over HTTP, 200 times: what stays of them on disk, in
memory, of descriptors, tasks and series. An argument is another number of times.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "app"), str(ROOT / "tests")]

CYCLES = 200
SHOWN_EVERY = 10
LOG_MIB = 4
DEADLINE_S = 120.0


async def measure(count: int) -> None:
    from dataclasses import astuple, fields

    from fakes import api
    from fakes.cycles import Traces, cycles, traces

    api.DEADLINE_S = DEADLINE_S
    async with api.running("--flood-mib", LOG_MIB + 1, log_limit_mib=LOG_MIB, last_port=65535) as (bench, http):
        print("cycle", *(field.name for field in fields(Traces)), sep="\t")
        print(0, *astuple(await traces(bench, http)), sep="\t")
        number = 0
        async for now in cycles(bench, http, count):
            number += 1
            if number % SHOWN_EVERY == 0 or number == 1:
                print(number, *astuple(now), sep="\t", flush=True)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="ld-") as home:
        os.environ["LAUNCHDECK_HOME"] = home
        from launchdeck.settings.paths import Paths

        Paths.resolve().create()
        asyncio.run(measure(int(sys.argv[1]) if len(sys.argv) > 1 else CYCLES))
