"""The interface for programs beside the window: opened after the first frame, and again when its settings change."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from launchdeck.api.opening import open_api
from launchdeck.core import Core
from launchdeck.domain.errors import LaunchdeckError
from launchdeck.domain.gpu import Inventory
from launchdeck.ui.kit.i18n import tr
from launchdeck.ui.window.main_window import MainWindow

if TYPE_CHECKING:
    from launchdeck.api.server import ApiServer


class WindowApi:
    """A load over HTTP goes to the window's own manager, so the table shows it like any other."""

    def __init__(self, core: Core, window: MainWindow) -> None:
        self._core = core
        self._window = window
        self._opened_with: tuple[bool, int] | None = None
        self._server: ApiServer | None = None
        self._changing = asyncio.Lock()

    async def apply(self) -> None:
        """Open or close it as the settings have it. Raises LaunchdeckError if it cannot be opened."""
        setup = self._core.setup
        async with self._changing:
            wanted = (setup.settings.api_enabled, setup.api_port)
            if wanted == self._opened_with:
                return
            self._opened_with = wanted
            await self._close()
            if setup.settings.api_enabled:
                await self._open()
            else:
                self._window.status_line.api.show_off(tr("The HTTP interface is switched off in the settings."))

    async def _open(self) -> None:
        core = self._core
        try:
            self._server = await open_api(core.setup, core.planner, core.manager, hand_over=self._show_window)
        except LaunchdeckError as error:
            self._window.status_line.api.show_off(tr(error.failure.message))
            raise
        self._window.status_line.api.show_on(self._server.url, self._server.token)

    async def close(self) -> None:
        """End every connection, also where it is just being opened."""
        async with self._changing:
            await self._close()

    async def _close(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            await server.close()

    def on_inventory(self, inventory: Inventory) -> None:
        """A new reading of all devices."""
        if self._server is not None:
            self._server.backend.on_inventory(inventory)

    async def _show_window(self) -> bool:
        """Somebody started Launchdeck once more: here is its window."""
        self._window.bring_to_front()
        return False
