"""The real window in a process of its own, which is asked to quit from within as soon as a file is there.

Argument: that file.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from launchdeck.compose import in_window
from launchdeck.ending import Ending
from launchdeck.settings.paths import Paths
from launchdeck.settings.setup import Setup
from launchdeck.ui.application import WindowApplication


def main() -> int:
    ending = Ending()
    ending.listen()

    async def drive(application: WindowApplication) -> int:
        running = asyncio.create_task(application.run())
        while not Path(sys.argv[1]).exists():
            await asyncio.sleep(0.05)
        application.ask_to_quit()
        await running
        return 0

    return in_window(Setup.of(Paths.resolve()), drive, ending=ending)


if __name__ == "__main__":
    sys.exit(main())
