"""Opening the interface beside an application that runs already: imports that take half a second wait until then."""

from __future__ import annotations

import asyncio
import importlib
import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from launchdeck.api.backend import HandOver
    from launchdeck.api.server import ApiServer
    from launchdeck.engines.planner import Planner
    from launchdeck.serving.manager import ProcessManager
    from launchdeck.settings.setup import Setup

logger = logging.getLogger(__name__)


async def open_api(
    setup: Setup,
    planner: Planner,
    manager: ProcessManager,
    *,
    hand_over: HandOver,
) -> ApiServer:
    """The interface, listening.

    Raises:
        LaunchdeckError: its port is taken.
    """
    await asyncio.to_thread(importlib.import_module, "launchdeck.api.server")
    from launchdeck.api.backend import Backend  # noqa: PLC0415
    from launchdeck.api.server import ApiServer  # noqa: PLC0415

    server = ApiServer(Backend(setup, planner, manager, hand_over=hand_over))
    try:
        await server.start(setup.api_port)
    except BaseException:
        await server.close()
        raise
    logger.info("HTTP interface at %s", server.url)
    return server
