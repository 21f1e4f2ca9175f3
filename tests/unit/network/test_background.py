"""Work that nobody has to wait for: cancelled at once, and no reason for a process not to end."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time

import pytest

from launchdeck.network.background import in_background


def test_what_it_gives_and_raises_comes_back() -> None:
    async def both() -> None:
        assert await in_background(lambda: 7) == 7
        with pytest.raises(ZeroDivisionError):
            await in_background(lambda: 1 // 0)

    asyncio.run(both())


def test_cancelling_is_at_once_and_what_comes_later_is_of_no_account() -> None:
    go_on = threading.Event()

    async def cancel() -> float:
        task = asyncio.ensure_future(in_background(lambda: go_on.wait(20)))
        await asyncio.sleep(0.05)
        began_s = time.monotonic()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return time.monotonic() - began_s

    assert asyncio.run(cancel()) < 2
    go_on.set()


def test_a_process_ends_while_it_still_hangs() -> None:
    script = (
        "import asyncio, time\n"
        "from launchdeck.network.background import in_background\n"
        "async def main():\n"
        "    try:\n"
        "        async with asyncio.timeout(0.2): await in_background(lambda: time.sleep(60))\n"
        "    except TimeoutError: print('given up')\n"
        "asyncio.run(main())\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=20, check=True)
    assert done.stdout == "given up\n"
    assert done.stderr == ""
