"""Qt's classes made known to Python in the window's thread, before anything in another thread asks for them.

PySide makes a class when somebody first asks for it. What is imported in a thread, because it takes too long for the
window's, asks for many of them, and pyqtgraph for all. Made there while the window handled an event, they crashed one
start in a hundred.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import time
from typing import Final

logger = logging.getLogger(__name__)

_MODULES: Final = ("QtCore", "QtGui", "QtWidgets")
# pyqtgraph goes on without these, and so does Launchdeck.
_MODULES_OF_PYQTGRAPH: Final = ("QtSvg", "QtOpenGLWidgets", "QtTest")
_SLICE_S: Final = 0.004


async def make_all() -> None:
    """Takes a quarter of a second in small slices; the window answers in between."""
    until_s = 0.0
    for name in (*_MODULES, *_MODULES_OF_PYQTGRAPH):
        try:
            module = importlib.import_module(f"PySide6.{name}")
        except ImportError as error:
            if name in _MODULES:
                raise
            logger.info("%s cannot be used: %s", name, error)
            continue
        for attribute in dir(module):
            if time.perf_counter() > until_s:
                await asyncio.sleep(0)
                until_s = time.perf_counter() + _SLICE_S
            getattr(module, attribute)
