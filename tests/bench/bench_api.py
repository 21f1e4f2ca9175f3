"""What programs cost the window: GET /api/management/gpus 200 times a second, 8 GPUs, the real window open.

Prints the answers' p50 and p99, how late the window's event loop gets with and without the load, in one run, and
whether memory stays flat. The client is a process of its own. Argument: seconds (60).
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "app"), str(ROOT / "tests")]
os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

GPUS = 8
REQUESTS_A_SECOND = 200
CONNECTIONS = 4
BEAT_S = 0.01
BUDGET_P99_MS = 5
WARM_UP_S = 5.0


def client(seconds: float) -> None:
    """Send requests at a steady pace, whether or not earlier ones are answered; print how long each took, in ms."""
    from http.client import HTTPConnection
    from threading import Thread
    from urllib.parse import urlsplit

    from launchdeck.settings.paths import Paths

    runtime = Paths.resolve().runtime
    address = urlsplit((runtime / "api-url").read_text())
    headers = {"Authorization": f"Bearer {(runtime / 'api-token').read_text()}"}
    took_ms: list[float] = []

    def send(first: int) -> None:
        connection = HTTPConnection(address.hostname or "", address.port, timeout=30)
        begin_s = time.monotonic()
        for number in range(first, round(seconds * REQUESTS_A_SECOND), CONNECTIONS):
            due_s = begin_s + number / REQUESTS_A_SECOND
            time.sleep(max(0.0, due_s - time.monotonic()))
            sent_s = time.monotonic()
            connection.request("GET", "/api/management/gpus", headers=headers)
            answer = connection.getresponse()
            assert json.loads(answer.read())["total"] == GPUS
            took_ms.append((time.monotonic() - sent_s) * 1000)

    threads = [Thread(target=send, args=(first,)) for first in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(json.dumps(took_ms))


async def loop_delays(seconds: float) -> list[float]:
    """How many ms later than asked for every beat of the window's loop came, in order of size."""
    delays = []
    end_s = time.monotonic() + seconds
    while (began_s := time.monotonic()) < end_s:
        await asyncio.sleep(BEAT_S)
        delays.append((time.monotonic() - began_s - BEAT_S) * 1000)
    return sorted(delays)


def at(ordered: list[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def measure(seconds: float, inventory_file: Path) -> None:
    from e2e.window import quick_settings, until
    from launchdeck.compose import in_window
    from launchdeck.settings.paths import Paths
    from launchdeck.settings.setup import Setup
    from launchdeck.ui.application import WindowApplication

    async def main(application: WindowApplication) -> int:
        await application.start()
        await until((Paths.resolve().runtime / "api-url").exists, "the interface")
        await asyncio.sleep(WARM_UP_S)
        alone = await loop_delays(seconds)
        before_bytes = psutil.Process().memory_info().rss
        cpu_before_s = sum(psutil.Process().cpu_times()[:2])
        loading = await asyncio.create_subprocess_exec(
            sys.executable, __file__, "--client", str(seconds), stdout=subprocess.PIPE, limit=1 << 24
        )
        answering = asyncio.create_task(loading.communicate())
        delays = await loop_delays(seconds)
        cpu_s = sum(psutil.Process().cpu_times()[:2]) - cpu_before_s
        output, _ = await answering
        grown_bytes = psutil.Process().memory_info().rss - before_bytes
        tell(sorted(json.loads(output)), alone, delays, cpu_s / seconds, grown_bytes)
        await application.end(keep=False)
        return 0

    in_window(Setup.of(Paths.resolve(), inventory_file, quick_settings()), main)


def tell(took_ms: list[float], alone: list[float], delays: list[float], cores: float, grown_bytes: int) -> None:
    p99_ms = at(took_ms, 0.99)
    print(
        f"{len(took_ms)} requests: p50 {at(took_ms, 0.5):.2f} ms, p99 {p99_ms:.2f} ms, worst {took_ms[-1]:.1f} ms; "
        f"{p99_ms / BUDGET_P99_MS:.2f} of the budget"
    )
    print(
        f"window's loop late: p99 {at(delays, 0.99):.2f} ms (alone {at(alone, 0.99):.2f}), "
        f"worst {delays[-1]:.1f} ms (alone {alone[-1]:.1f})"
    )
    print(f"window's process: {cores:.0%} of a core, memory {grown_bytes / 1024**2:+.1f} MiB")


def main() -> None:
    if sys.argv[1:2] == ["--client"]:
        client(float(sys.argv[2]))
        return
    from fakes.samples import gpu, inventory
    from launchdeck.domain.gpu import GpuType
    from launchdeck.hardware.document import to_document

    folder = Path(tempfile.mkdtemp(prefix="ld-"))
    os.environ["LAUNCHDECK_HOME"] = str(folder)
    os.environ["PYTHONPATH"] = str(ROOT / "app")
    gpus = [gpu(index, "RTX 4090", GpuType.NVIDIA, 24, 11.4) for index in range(GPUS)]
    file = folder / "inventory.json"
    file.write_text(json.dumps(to_document(inventory(*gpus))), encoding="utf-8")
    try:
        measure(float(sys.argv[1]) if sys.argv[1:] else 60.0, file)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
