"""`launchdeck stop`: straight to the models' own supervisors; a running application sees it happen."""

from __future__ import annotations

import argparse
import asyncio

from launchdeck.commands.output import print_json, print_line
from launchdeck.engines.registry import adapters
from launchdeck.serving import direct
from launchdeck.settings.paths import Paths


def run(options: argparse.Namespace) -> int:
    """Stop one model or all, and return when nothing is left of them."""
    paths = Paths.resolve()
    stopped = asyncio.run(_stop(paths, None if options.all else options.id))
    if options.json:
        print_json({"stopped": stopped})
    else:
        print_line(f"Stopped: {', '.join(stopped)}" if stopped else "Nothing runs.")
    return 0


async def _stop(paths: Paths, name: str | None) -> list[str]:
    if name is not None:
        await direct.stop(paths, name)
        return [name]
    live = [d.plan.model_id for d in await direct.status(paths, adapters()) if d.state.is_live]
    await direct.stop_all(paths)
    return live
