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

from launchdeck.api.address import take_back_address, url_file
from launchdeck.commands.output import print_line
from launchdeck.domain.errors import Cause, LaunchdeckError
from launchdeck.domain.text import Message
from launchdeck.ending import Ending
from launchdeck.files.looking import is_there
from launchdeck.settings.instance import SERVE, WINDOW, Instance, does_not_answer
from launchdeck.settings.paths import HOME_VARIABLE, Paths
from launchdeck.settings.qt_binding import choose_pyside6
from launchdeck.settings.setup import Setup

if TYPE_CHECKING:
    import asyncio
    from pathlib import Path

    from PySide6.QtWidgets import QApplication

    from launchdeck.core import Core
    from launchdeck.ui.application import WindowApplication
    from launchdeck.ui.first_frame import FirstFrame

logger = logging.getLogger(__name__)

_RAISING = signal.SIGUSR1
_LET_GO_TIMEOUT_S = 30.0
_LET_GO_POLL_S = 0.05
_ANSWER_S = 2.0
_SILENT_S = 5.0
"""A 'launchdeck serve' that has an address and does not answer there has this long."""
_STARTING_S = 10.0
"""A window that has just been started comes to its event loop within this."""


def run_window(options: argparse.Namespace, on_painted: Callable[[], None] = lambda: None) -> int:
    """Open the window and stay until it is quit; `on_painted` is called when the first frame is on the screen."""
    ending = Ending()
    ending.listen((_RAISING,))
    setup = setup_of(options)
    instance = Instance(setup.paths)  # holds its lock for as long as it lives
    shown = take_over(setup.paths, instance)
    if shown is not None:
        print_line(shown)
        return 0
    leave_nothing_behind(ending, setup, instance)

    async def main(application: WindowApplication) -> int:
        def show() -> None:
            application.window.bring_to_front()
            instance.answer()

        ending.call(application.quit_by_signal)
        ending.call(show, (_RAISING,))
        await application.run()
        return 0

    return in_window(setup, main, on_painted, ending)


def leave_nothing_behind(ending: Ending, setup: Setup, instance: Instance) -> None:
    """Where the application does not end in order: nobody finds its address any more, its models are kept, if that is
    what its end means, and another one may start.
    """

    def keep_models() -> None:
        if setup.settings.on_quit != "stop":
            from launchdeck.serving.direct import keep_all  # noqa: PLC0415

            keep_all(setup.paths)

    ending.at_last += [lambda: take_back_address(setup.paths), keep_models, instance.release]


def setup_of(options: argparse.Namespace) -> Setup:
    """The run that the command line asks for.

    Raises:
        LaunchdeckError: the recorded inventory is none, or the folders cannot be made.
    """
    inventory: Path | None = getattr(options, "inventory", None)
    recorded = None
    if inventory is not None:
        from launchdeck.hardware.replay import ReplaySource  # noqa: PLC0415 (support cases only)

        recorded = ReplaySource.open(inventory).inventory
    return Setup.of(Paths.resolve(), inventory, api_port=getattr(options, "api_port", None), recorded=recorded)


def take_over(paths: Paths, instance: Instance) -> str | None:
    """Be the one application; a 'launchdeck serve' ends and leaves its models to this process.

    Returns:
        None, or what became of the window that is there already, and stays.

    Raises:
        LaunchdeckError: whoever runs does not let go, or does not answer.
    """
    began_s = answered_s = time.monotonic()
    while not instance.acquire(WINDOW):
        kind, pid = instance.holder() or (None, None)
        if kind == WINDOW and pid is not None:
            shown = _show_the_other(instance, pid)
            if shown is not None:
                return shown
        elif time.monotonic() - began_s > (_STARTING_S if kind is None else _LET_GO_TIMEOUT_S):
            raise _does_not_let_go(pid)
        elif kind == SERVE and pid is not None:
            if _ask_to_let_go(paths):
                answered_s = time.monotonic()
            elif time.monotonic() - answered_s > _SILENT_S and instance.held_for_s() > _STARTING_S:
                raise does_not_answer(pid)
        time.sleep(_LET_GO_POLL_S)
    return None


def _show_the_other(instance: Instance, pid: int) -> str | None:
    """Bring the window of that process to the front; None: it is just going. Raises LaunchdeckError."""
    before = instance.answers()
    try:
        os.kill(pid, _RAISING)
    except ProcessLookupError:
        return None
    except PermissionError as error:
        raise LaunchdeckError.of(
            Cause.CONFLICT,
            Message("Launchdeck runs already, as process {pid} of another user.", pid=pid),
            Message("End that process, or name other folders: {variable}=DIR.", variable=HOME_VARIABLE),
        ) from error
    if not before:  # an older version, which does as it is told, and cannot say so
        return "The window of Launchdeck is open already: it has been asked to come to the front."
    patience_s = _ANSWER_S if instance.held_for_s() > _STARTING_S else _STARTING_S
    until_s = time.monotonic() + patience_s
    while time.monotonic() < until_s:
        if instance.answers() != before:
            return "The window of Launchdeck is open already: it has been brought to the front."
        if instance.holder() is None:
            return None
        time.sleep(_LET_GO_POLL_S)
    raise does_not_answer(pid)


def _does_not_let_go(pid: int | None) -> LaunchdeckError:
    message = Message("Launchdeck runs already, and does not let go. Which process it is cannot be told.")
    if pid is not None:
        message = Message("Launchdeck runs already, as process {pid}, and does not let go.", pid=pid)
    return LaunchdeckError.of(
        Cause.CONFLICT, message, Message("End that process, then start again: the models serve on.")
    )


def _ask_to_let_go(paths: Paths) -> bool:
    """Whether there is nobody to ask, for it is just starting or ending, or an answer. It is asked again."""
    from launchdeck.api.client import ApiClient  # noqa: PLC0415 (only where somebody is there)

    client = ApiClient.find(paths)
    if client is None:
        return not is_there(url_file(paths))
    try:
        client.hand_over()
    except LaunchdeckError as error:
        logger.info("%s", error)
        return False
    return True


def in_window(
    setup: Setup,
    main: Callable[[WindowApplication], Coroutine[Any, Any, int]],
    on_painted: Callable[[], None] = lambda: None,
    ending: Ending | None = None,
) -> int:
    """Paint the window, then run `main` on an event loop that Qt and asyncio share; gives what `main` returns."""
    ending = ending or Ending()
    choose_pyside6()
    gc.disable()  # what is made before the first frame is there to stay; looking for garbage in it takes its time
    from PySide6.QtWidgets import QApplication  # noqa: PLC0415 (commands do without widgets)

    from launchdeck.ui.first_frame import FirstFrame, dress  # noqa: PLC0415
    from launchdeck.ui.kit import theme  # noqa: PLC0415

    existing = QApplication.instance()
    app = existing if isinstance(existing, QApplication) else QApplication([*sys.argv[:1], *theme.ARGUMENTS])
    app.setQuitOnLastWindowClosed(False)
    if ending.is_asked():
        return 0
    dress(app, setup.settings)
    first_frame = FirstFrame(app, setup)
    first_frame.window.painted.connect(on_painted)
    first_frame.paint()
    _collect_garbage()
    return 0 if ending.is_asked() else _live(app, setup, first_frame, main, ending)


def _live(
    app: QApplication,
    setup: Setup,
    first_frame: FirstFrame,
    main: Callable[[WindowApplication], Coroutine[Any, Any, int]],
    ending: Ending,
) -> int:
    import asyncio  # noqa: PLC0415 (a third of a bare window's start)

    from qasync import QEventLoop  # noqa: PLC0415

    from launchdeck.ui.application import WindowApplication  # noqa: PLC0415
    from launchdeck.workers import Workers  # noqa: PLC0415

    loop = QEventLoop(app)
    loop.set_default_executor(Workers())  # its own is made of QThreads, for which it waits without end
    asyncio.set_event_loop(loop)

    async def run() -> int:
        status = await main(WindowApplication(app, setup, first_frame, ending))
        ending.done(status)
        return status

    with loop, _closing_generators(loop):
        status: int = loop.run_until_complete(run())
    return status


def _collect_garbage() -> None:
    """From now on, and without what is there already."""
    gc.freeze()
    gc.enable()


def in_console(setup: Setup, main: Callable[[Core], Coroutine[Any, Any, int]], ending: Ending | None = None) -> int:
    """Run `main` on plain asyncio, without any widget; of Qt it needs the core alone, for the launcher's thread."""
    import asyncio  # noqa: PLC0415

    from PySide6.QtCore import QCoreApplication  # noqa: PLC0415

    from launchdeck.core import Core  # noqa: PLC0415
    from launchdeck.workers import Workers  # noqa: PLC0415

    ending = ending or Ending()
    app = QCoreApplication(sys.argv[:1])

    async def run() -> int:
        asyncio.get_running_loop().set_default_executor(Workers())
        status = await main(Core(setup))
        ending.done(status)
        return status

    status = 0 if ending.is_asked() else asyncio.run(run())
    del app  # it had to live as long as the launcher's thread
    return status


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
