"""Opens the real window, and prints where it, its frame and its Deploy button are on which screen, as JSON."""

from __future__ import annotations

import asyncio
import json

from PySide6.QtCore import QPoint, QRect

from e2e.window import button, in_real_window
from launchdeck.core import Core
from launchdeck.ui.application import WindowApplication

SETTLED_S = 1.0  # a window manager puts its frame around a window that is there already


async def tell(application: WindowApplication, _core: Core) -> None:
    await asyncio.sleep(SETTLED_S)
    window, deploy = application.window, button(application.panels.form, "Deploy")
    places = {
        "screen": window.screen().availableGeometry(),
        "frame": window.frameGeometry(),
        "window": window.geometry(),
        "deploy": QRect(deploy.mapToGlobal(QPoint(0, 0)), deploy.size()),
    }
    print(json.dumps({name: place.getRect() for name, place in places.items()}))


if __name__ == "__main__":
    in_real_window(tell)
