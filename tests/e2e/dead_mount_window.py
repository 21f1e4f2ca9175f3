"""The real window, in a process of its own, with a folder of models that does not answer: tells how it fared.

Argument: the folder that is well; the dead one is that of the environment. Prints one JSON document when the window
has been quit.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from e2e.window import quick_settings, until
from fakes.dead_mount import DeadMount
from fakes.gguf_models import llama
from launchdeck.compose import in_window
from launchdeck.settings.paths import Paths
from launchdeck.settings.setup import Setup
from launchdeck.ui.application import WindowApplication

TICK_S = 0.005
WELL, DEAD = Path(sys.argv[1]), DeadMount.of()


async def longest_pause(until_done: asyncio.Event) -> float:
    """How long the event loop was held up at most, in seconds."""
    longest_s = 0.0
    while not until_done.is_set():
        begin_s = time.monotonic()
        await asyncio.sleep(TICK_S)
        longest_s = max(longest_s, time.monotonic() - begin_s - TICK_S)
    return longest_s


async def main(application: WindowApplication) -> int:
    running = asyncio.create_task(application.run())
    await until(lambda: hasattr(application, "discovery"), "the discovery")

    def names() -> set[str]:
        return {model.name for model in application.discovery.models}

    await until(lambda: "well" in names(), "the model that can be read")
    listed = sorted(names())
    await until(lambda: str(DEAD.mount) in application.window.notice.text, "the notice")
    notice = application.window.notice.text
    done = asyncio.Event()
    pausing = asyncio.create_task(longest_pause(done))
    llama().write(WELL / "newcomer.gguf")
    await until(lambda: "newcomer" in names(), "what came meanwhile")
    application.controller.preview(application.panels.form.request())
    DEAD.revive()
    await until(lambda: "back" in names(), "the model that is back")
    DEAD.die()
    await until(lambda: "back" not in names(), "the models to be left out again")
    done.set()
    report = {"listed": listed, "notice": notice, "longest_pause_s": await pausing, "left_at_s": time.time()}
    application.quit_by_signal()
    await running
    print(json.dumps(report), flush=True)
    return 0


if __name__ == "__main__":
    settings = quick_settings(model_folders=(str(DEAD.mount), str(WELL)))
    sys.exit(in_window(Setup.of(Paths.resolve(), settings=settings), main))
