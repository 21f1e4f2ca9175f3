"""The one place where the rooms are put together: the core that every door shares, and the window on top of it."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import sys
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from launchdeck.engines.registry import adapters
from launchdeck.engines.planner import Planner
from launchdeck.hardware.source import open_source
from launchdeck.serving.manager import ProcessManager
from launchdeck.serving.process import QtShimLauncher
from launchdeck.settings.paths import Paths
from launchdeck.settings.schema import Settings
from launchdeck.settings.store import SettingsStore

if TYPE_CHECKING:
    from launchdeck.ui.application import WindowApplication

logger = logging.getLogger(__name__)


class Core:
    """Settings, planner and manager; `inventory_file` replaces this machine's GPUs by recorded ones.

    `settings` hold for this run instead of the file's.
    """

    def __init__(self, paths: Paths, inventory_file: Path | None = None, settings: Settings | None = None) -> None:
        paths.create()
        self.paths = paths
        self.inventory_file = inventory_file
        self.store = SettingsStore(paths.settings_file)
        if settings is not None:
            self.store.settings = settings
        self.planner = Planner(lambda: self.store.settings)
        self.launcher = QtShimLauncher()
        self.manager = ProcessManager(
            paths=paths,
            settings=lambda: self.store.settings,
            launcher=self.launcher,
            planner=self.planner.plan,
            adapters=adapters(),
        )

    def open_source(self) -> Any:
        """Where readings of the GPUs come from; opened by the thread that will read."""
        return open_source(self.store.settings.detection, self.inventory_file)

    async def close(self, *, keep: bool) -> None:
        """Leave the models serving, or stop them all; then end what this process runs beside its main thread."""
        await self.manager.close(keep=keep)
        self.launcher.close()


def run_window(options: argparse.Namespace, on_painted: Callable[[], None] = lambda: None) -> int:
    """Open the window and stay until it is quit; `on_painted` is called when the first frame is on the screen."""

    async def main(window_application: WindowApplication) -> int:
        window_application.window.painted.connect(on_painted)
        on_signals(window_application.quit_by_signal)
        await window_application.run()
        return 0

    return in_window(Core(Paths.resolve(), getattr(options, "inventory", None)), main)


def on_signals(callback: Callable[[], object]) -> None:
    """Call this when the process is asked to end: SIGTERM, or Ctrl-C in its terminal."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, callback)


def in_window(core: Core, main: Callable[[WindowApplication], Coroutine[Any, Any, int]]) -> int:
    """Make the window and run `main` on an event loop that Qt and asyncio share; gives what `main` returns."""
    from PySide6.QtWidgets import QApplication  # noqa: PLC0415 (commands do without widgets)
    from qasync import QEventLoop  # noqa: PLC0415

    from launchdeck.ui.application import WindowApplication, dress  # noqa: PLC0415

    app = QApplication.instance() or QApplication(sys.argv[:1])
    app.setQuitOnLastWindowClosed(False)
    dress(app, core.store.settings)
    loop = QEventLoop(app)
    asyncio.set_event_loop(loop)

    async def run() -> int:
        return await main(WindowApplication(app, core))

    with loop, _closing_generators(loop):
        return loop.run_until_complete(run())


@contextmanager
def _closing_generators(loop: asyncio.AbstractEventLoop) -> Iterator[None]:
    """Have abandoned asynchronous generators closed by the loop, as asyncio's own loops do and qasync's does not.

    Without it a cancelled answer ends in "async generator ignored GeneratorExit".
    """

    def close(generator: AsyncGenerator[Any, Any]) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(lambda: loop.create_task(generator.aclose()))

    before = sys.get_asyncgen_hooks()
    sys.set_asyncgen_hooks(finalizer=close)
    try:
        yield
    finally:
        sys.set_asyncgen_hooks(*before)


def in_console(core: Core, main: Callable[[Core], Coroutine[Any, Any, int]]) -> int:
    """Run `main` on plain asyncio, without any widget; the launcher's thread needs Qt's core and nothing of it more."""
    from PySide6.QtCore import QCoreApplication  # noqa: PLC0415

    app = QCoreApplication(sys.argv[:1])
    status = asyncio.run(main(core))
    del app  # it had to live as long as the launcher's thread
    return status
