"""The one place where the rooms are put together and given an event loop. Nothing heavy is imported before the window
has been painted.
"""

from __future__ import annotations

import argparse
import gc
import logging
import os
import signal
import sys
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from launchdeck.commands.output import print_line
from launchdeck.domain.errors import Cause, LaunchdeckError
from launchdeck.domain.text import Message
from launchdeck.settings.instance import SERVE, WINDOW, Instance
from launchdeck.settings.paths import Paths
from launchdeck.settings.setup import Setup

if TYPE_CHECKING:
    import asyncio
    from pathlib import Path

    from PySide6.QtWidgets import QApplication

    from launchdeck.core import Core
    from launchdeck.ui.application import WindowApplication
    from launchdeck.ui.first_frame import FirstFrame

logger = logging.getLogger(__name__)

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_RAISING = signal.SIGUSR1
_LET_GO_TIMEOUT_S = 30.0
_LET_GO_POLL_S = 0.05


def run_window(options: argparse.Namespace, on_painted: Callable[[], None] = lambda: None) -> int:
    """Open the window and stay until it is quit; `on_painted` is called when the first frame is on the screen."""
    signal.pthread_sigmask(signal.SIG_BLOCK, (*_ENDING, _RAISING))  # until there is a loop that can carry it out
    setup = setup_of(options)
    instance = Instance(setup.paths)  # holds its lock for as long as it lives
    if not take_over(setup.paths, instance):
        print_line("The window of Launchdeck is open already: it has been brought to the front.")
        return 0

    async def main(application: WindowApplication) -> int:
        on_signals(application.quit_by_signal)
        on_signals(application.window.bring_to_front, (_RAISING,))
        await application.run()
        return 0

    return in_window(setup, main, on_painted)


def setup_of(options: argparse.Namespace) -> Setup:
    """The run that the command line asks for.

    Raises:
        LaunchdeckError: the recorded inventory is none, or the folders cannot be made.
    """
    inventory: Path | None = getattr(options, "inventory", None)
    if inventory is not None:
        from launchdeck.hardware.replay import ReplaySource  # noqa: PLC0415 (support cases only)

        ReplaySource.open(inventory).close()
    return Setup.of(Paths.resolve(), inventory, api_port=getattr(options, "api_port", None))


def take_over(paths: Paths, instance: Instance) -> bool:
    """Be the one application; a 'launchdeck serve' ends and leaves its models to this process. False: the one is a
    window, which stays, and comes to the front.

    Raises:
        LaunchdeckError: whoever runs does not let go.
    """
    deadline_s = time.monotonic() + _LET_GO_TIMEOUT_S
    while not instance.acquire(WINDOW):
        kind, pid = instance.holder() or (None, 0)
        if kind == WINDOW:
            os.kill(pid, _RAISING)
            return False
        if time.monotonic() > deadline_s:
            raise LaunchdeckError.of(
                Cause.CONFLICT,
                Message("Launchdeck runs already, as process {pid}, and does not let go.", pid=pid),
                Message("End that process, then start again: the models serve on."),
            )
        if kind == SERVE:
            _ask_to_let_go(paths)
        time.sleep(_LET_GO_POLL_S)
    return True


def _ask_to_let_go(paths: Paths) -> None:
    """One that is just starting, or ending, does not answer; it is asked again."""
    from launchdeck.api.client import ApiClient  # noqa: PLC0415 (only where somebody is there)

    client = ApiClient.find(paths)
    if client is None:
        return
    try:
        client.hand_over()
    except LaunchdeckError as error:
        logger.info("%s", error)


def in_window(
    setup: Setup,
    main: Callable[[WindowApplication], Coroutine[Any, Any, int]],
    on_painted: Callable[[], None] = lambda: None,
) -> int:
    """Paint the window, then run `main` on an event loop that Qt and asyncio share; gives what `main` returns."""
    gc.disable()  # what is made before the first frame is there to stay; looking for garbage in it takes its time
    from PySide6.QtWidgets import QApplication  # noqa: PLC0415 (commands do without widgets)

    from launchdeck.ui import theme  # noqa: PLC0415
    from launchdeck.ui.first_frame import FirstFrame, dress  # noqa: PLC0415

    existing = QApplication.instance()
    app = existing if isinstance(existing, QApplication) else QApplication([*sys.argv[:1], *theme.ARGUMENTS])
    app.setQuitOnLastWindowClosed(False)
    dress(app, setup.settings)
    first_frame = FirstFrame(app, setup)
    first_frame.window.painted.connect(on_painted)
    first_frame.paint()
    _collect_garbage()
    return _live(app, setup, first_frame, main)


def _live(
    app: QApplication,
    setup: Setup,
    first_frame: FirstFrame,
    main: Callable[[WindowApplication], Coroutine[Any, Any, int]],
) -> int:
    import asyncio  # noqa: PLC0415 (a third of a bare window's start)

    from qasync import QEventLoop  # noqa: PLC0415

    from launchdeck.ui.application import WindowApplication  # noqa: PLC0415

    loop = QEventLoop(app)
    asyncio.set_event_loop(loop)

    async def run() -> int:
        return await main(WindowApplication(app, setup, first_frame))

    with loop, _closing_generators(loop):
        status: int = loop.run_until_complete(run())
    return status


def _collect_garbage() -> None:
    """From now on, and without what is there already."""
    gc.freeze()
    gc.enable()


def in_console(setup: Setup, main: Callable[[Core], Coroutine[Any, Any, int]]) -> int:
    """Run `main` on plain asyncio, without any widget; of Qt it needs the core alone, for the launcher's thread."""
    import asyncio  # noqa: PLC0415

    from PySide6.QtCore import QCoreApplication  # noqa: PLC0415

    from launchdeck.core import Core  # noqa: PLC0415

    app = QCoreApplication(sys.argv[:1])

    async def run() -> int:
        return await main(Core(setup))

    status = asyncio.run(run())
    del app  # it had to live as long as the launcher's thread
    return status


def on_signals(callback: Callable[[], object], numbers: tuple[signal.Signals, ...] = _ENDING) -> None:
    """Call this when a signal comes: by default when the process is asked to end, by SIGTERM, Ctrl-C in its terminal,
    or the end of the terminal.
    """
    import asyncio  # noqa: PLC0415

    loop = asyncio.get_running_loop()
    for number in numbers:
        if number is not signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:  # `nohup` has it ignored
            loop.add_signal_handler(number, callback)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)


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
