"""What works behind the window, from its first frame to quitting in named stages."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Slot
from PySide6.QtWidgets import QApplication

from launchdeck.domain.deployment import Deployment
from launchdeck.domain.errors import Cause, LaunchdeckError
from launchdeck.domain.text import Message
from launchdeck.ending import Ending
from launchdeck.monitor.history_keeper import HistoryKeeper
from launchdeck.monitor.sampler import Sampler
from launchdeck.settings.schema import Settings
from launchdeck.settings.setup import Setup
from launchdeck.ui import qt_types
from launchdeck.ui.kit import theme
from launchdeck.ui.kit.i18n import tr
from launchdeck.ui.window.quitting import Quitting

if TYPE_CHECKING:
    from launchdeck.core import Core
    from launchdeck.domain.plan import LaunchPlan
    from launchdeck.domain.request import ModelLoadRequest
    from launchdeck.serving.client import ChatChunk, Embeddings
    from launchdeck.ui.controller import Controller
    from launchdeck.ui.deployments.try_it import TryItTab
    from launchdeck.ui.discovery import Discovery
    from launchdeck.ui.engines.engines_desk import EnginesDesk
    from launchdeck.ui.first_frame import FirstFrame
    from launchdeck.ui.library.library_desk import LibraryDesk
    from launchdeck.ui.window.tray import Tray
    from launchdeck.ui.window.window_api import WindowApi

_SCREENSHOT_PAUSE_S = 0.5
_MOST_PROBLEMS = 5  # the window is for the models
_ADOPTION_S = 2.0
_BEHIND_THE_WINDOW = (
    "launchdeck.core",
    "launchdeck.ui.controller",
    "launchdeck.ui.deployments.details",
    "launchdeck.ui.deployments.log_view",
    "launchdeck.ui.deployments.try_it",
    "launchdeck.ui.window.window_api",
)


class WindowApplication(QObject):
    """Takes over a window that has been painted; `core` and all that works behind it is there after `start`."""

    core: Core
    controller: Controller
    api: WindowApi
    discovery: Discovery
    engines: EnginesDesk
    library: LibraryDesk
    tray: Tray
    try_it: TryItTab

    def __init__(self, app: QApplication, setup: Setup, first_frame: FirstFrame, ending: Ending | None = None) -> None:
        super().__init__()
        self._app = app
        self._ending = ending or Ending()
        self._setup = setup
        self._quit = asyncio.Event()
        self._keep_models = True
        self._language, self._detection = setup.settings.language, setup.settings.detection
        self._history = HistoryKeeper(None if setup.inventory_file else setup.paths.history)
        self.window, self.panels = first_frame.window, first_frame.panels
        self._quitting = Quitting(self.window, setup.store)
        self._quitting.decided.connect(self._end_soon)
        first_frame.preview = self._preview

    async def run(self) -> None:
        """Stay until Quit, also where something hangs that is to be shown first; then end in stages."""
        await self._connect_all()
        beginning = asyncio.ensure_future(self._begin())
        asked = asyncio.ensure_future(self._quit.wait())
        try:
            await asyncio.wait({beginning, asked}, return_when=asyncio.FIRST_COMPLETED)
            if beginning.done():
                beginning.result()
                await asked
            elif not self._keep_models:  # those that are not taken over yet are to be stopped as well
                await asyncio.wait({beginning}, timeout=_ADOPTION_S)
        finally:
            asked.cancel()
            beginning.cancel()
            await asyncio.gather(beginning, return_exceptions=True)
            await self.end(keep=self._keep_models)

    async def start(self) -> None:
        """Bring to life what the window shows; it answers all the while."""
        await self._connect_all()
        await self._begin()

    async def _connect_all(self) -> None:
        await qt_types.make_all()
        for module in _BEHIND_THE_WINDOW:
            await asyncio.to_thread(importlib.import_module, module)
        await self._make_tabs()
        self._connect()

    async def _begin(self) -> None:
        """What touches disks, drivers and networks. A quit meanwhile leaves out the rest."""
        self.sampler.start()
        self.tray.appear()
        files = (self._setup.store, self.core.requests.file, self.core.manager.start_list.file)
        problems = [file.problem for file in files]
        self._tell_problems(problems)
        self._tell_problems([*problems, *await self.core.adopt()])
        if self._quit.is_set():
            return
        self.controller.spawn(self._discover())
        self.controller.spawn(self.discovery.watch())
        self.controller.spawn(self._start_marked())
        # One after the other, and the interface last, whose requests import as well: Shiboken takes part in every
        # import, and no two threads are to do so at once.
        await _import_to_its_end("pyqtgraph")  # it makes no object of Qt's when imported
        self.panels.charts.show_history(await self._history.open(self._setup.settings.sampling_interval_s))
        await self.controller.spawn(self.api.apply())

    def _tell_problems(self, problems: Sequence[Message | None]) -> None:
        words = [tr(problem) for problem in problems if problem is not None]
        if len(words) > _MOST_PROBLEMS:
            more = Message("and {count} more: the log has them all.", count=len(words) - _MOST_PROBLEMS + 1)
            words[_MOST_PROBLEMS - 1 :] = [tr(more)]
        if words:
            self.window.notice.show_text("\n".join(words))

    async def end(self, *, keep: bool) -> None:
        """Take everything down; `keep` leaves the models serving. What matters comes first, what may hang last."""
        self._ending.begin()
        self.engines.close()
        self.library.close()
        self.controller.close()
        await self.api.close()
        self.try_it.cancel()
        self.tray.hide()
        if keep:
            await self.core.manager.close(keep=True)
        self.window.close_for_good()
        self.sampler.stop()
        await self._history.close()
        with nullcontext() if keep else self._ending.patient():
            await self.core.close(keep=keep)

    async def save_screenshot(self, file: Path, samples: int) -> None:
        """Save a picture of the window once the charts have this many more readings.

        Raises:
            LaunchdeckError: the file cannot be written.
        """
        for _ in range(samples):
            self.sampler.sample_now()
            await asyncio.sleep(_SCREENSHOT_PAUSE_S)
        if not self.window.grab().save(str(file), "PNG"):
            raise LaunchdeckError.of(
                Cause.BAD_REQUEST,
                Message("The picture could not be saved as {file}.", file=file),
                Message("Name a file in a folder that can be written to."),
            )

    @Slot()
    def ask_to_quit(self) -> None:
        """Quit; where models run, as the settings have it or as the user says."""
        self._quitting.ask(sum(d.state.is_live for d in self.core.manager.deployments))

    def quit_by_signal(self) -> None:
        """SIGTERM or Ctrl-C."""
        self._quitting.without_asking()

    @Slot(bool)
    def _end_soon(self, keep: bool) -> None:  # noqa: FBT001 (a signal's argument)
        self._keep_models = keep
        self._ending.begin()
        self._quit.set()

    @Slot()
    def _close_window(self) -> None:
        """The window's own close button: with a tray at this moment the application stays there, without it quits."""
        if self.tray.is_there():
            self.window.hide()
            self.tray.say_where_it_went()
        else:
            self.ask_to_quit()

    @Slot(object)
    def _apply_settings(self, settings: Settings) -> None:
        theme.apply(self._app, settings.theme)
        self.sampler.set_interval_s(settings.sampling_interval_s)
        self.panels.charts.set_interval_s(settings.sampling_interval_s)
        self.panels.cards.set_interval_s(settings.sampling_interval_s)
        self.controller.show_all()
        if settings.detection != self._detection:
            self._detection = settings.detection
            self.sampler.reopen()
        if settings.language != self._language:
            self.window.notice.show_text(tr("The new language is used from the next start on."))
        self.controller.spawn(self._discover())
        self.controller.spawn(self.api.apply())

    async def _discover(self) -> None:
        await self.discovery.look()
        if self.discovery.problems:
            self.window.notice.show_text(" ".join(tr(problem) for problem in self.discovery.problems))

    @Slot(object)
    def _tell_silent(self, problems: tuple[Message, ...]) -> None:
        self.window.notice.show_text("\n".join(map(tr, problems)))

    async def _start_marked(self) -> None:
        failures = await self.core.start_marked()
        if failures:
            self.window.notice.show_text("\n".join(tr(failure.message) for failure in failures))

    def _preview(self, request: ModelLoadRequest) -> LaunchPlan | None:
        return self.controller.preview(request) if hasattr(self, "controller") else None

    def _connect(self) -> None:
        """Put what works behind the window in its place."""
        from launchdeck.core import Core  # noqa: PLC0415 (after the first paint)
        from launchdeck.ui.controller import Controller  # noqa: PLC0415
        from launchdeck.ui.discovery import Discovery  # noqa: PLC0415
        from launchdeck.ui.engines.engines_desk import EnginesDesk  # noqa: PLC0415
        from launchdeck.ui.library.library_desk import LibraryDesk  # noqa: PLC0415
        from launchdeck.ui.window.tray import Tray  # noqa: PLC0415
        from launchdeck.ui.window.window_api import WindowApi  # noqa: PLC0415

        self.core = Core(self._setup)
        self.tray = Tray()
        self.controller = Controller(self.window, self.panels, self.tray, self.core)
        self.discovery = Discovery(self.core.planner, self.panels.form, self._setup)
        self.discovery.silent_found.connect(self._tell_silent)
        self.sampler = Sampler(self.core.open_source, self._setup.settings.sampling_interval_s)
        self.sampler.sampled.connect(self.controller.on_inventory)
        self.api = WindowApi(self.core, self.window)
        self.core.subscribe_inventory(self.api.on_inventory)
        self.panels.deployments.current_changed.connect(self._show_current)
        self.panels.deployments.failure_requested.connect(self._show_failure)
        self.try_it.speed_measured.connect(self.panels.deployments.set_speed)
        self.window.close_requested.connect(self._close_window)
        self.window.quit_requested.connect(self.ask_to_quit)
        self.controller.settings_changed.connect(self._apply_settings)
        self.controller.refresh_requested.connect(self.sampler.refresh)
        self.library = LibraryDesk(self.window, self.core, self.discovery, self.panels.form)
        self.core.subscribe_inventory(self.library.show_inventory)
        self.panels.form.library_requested.connect(self.library.open_library)
        self.engines = EnginesDesk(self.window, self.core, self.discovery, self.controller, self._apply_settings)
        self.panels.form.engines_requested.connect(self.engines.open)
        self.tray.show_requested.connect(self.window.bring_to_front)
        self.tray.quit_requested.connect(self.ask_to_quit)

    async def _make_tabs(self) -> None:
        """One after the other, so that the window answers in between."""
        from launchdeck.ui.deployments.details import DetailsTab  # noqa: PLC0415 (after the first paint)
        from launchdeck.ui.deployments.log_view import LogTab  # noqa: PLC0415
        from launchdeck.ui.deployments.try_it import TryItTab  # noqa: PLC0415

        self._details = DetailsTab()
        self._details.failure_requested.connect(self._show_failure)
        self.panels.tabs.addTab(self._details, tr("Details"))
        await asyncio.sleep(0)
        self._log = LogTab()
        self.panels.tabs.addTab(self._log, tr("Logs"))
        await asyncio.sleep(0)
        self.try_it = TryItTab(self._chat, self._embed)
        self.panels.tabs.addTab(self.try_it, tr("Try it"))
        self.panels.tabs.currentChanged.connect(self._tab_opened)
        await asyncio.sleep(0)

    @Slot(int)
    def _tab_opened(self, place: int) -> None:
        """Whoever has come here to ask can type; whoever walks along the tabs with the arrow keys goes on walking."""
        if self.panels.tabs.widget(place) is self.try_it and not self.panels.tabs.tabBar().hasFocus():
            self.try_it.take_focus()

    def _chat(self, deployment: Deployment, messages: Sequence[Mapping[str, str]]) -> AsyncIterator[ChatChunk]:
        from launchdeck.serving import client  # noqa: PLC0415 (nobody chats before the first paint)

        plan = deployment.plan
        return client.chat(plan.url, self.core.manager.api_key(deployment.id), plan.model_id, messages)

    async def _embed(self, deployment: Deployment, texts: Sequence[str]) -> Embeddings:
        from launchdeck.serving import client  # noqa: PLC0415

        plan = deployment.plan
        return await client.embed(plan.url, self.core.manager.api_key(deployment.id), plan.model_id, texts)

    @Slot(object)
    def _show_current(self, deployment: Deployment | None) -> None:
        self._details.show_deployment(deployment)
        self.try_it.show_deployment(deployment)
        source = None if deployment is None else self.core.manager.log(deployment.id)
        self._log.follow(source, "" if deployment is None else deployment.plan.model_id)

    @Slot(str)
    def _show_failure(self, deployment_id: str) -> None:
        """Where the log tells of it."""
        self.panels.deployments.select(deployment_id)
        deployment = self.panels.deployments.current()
        if deployment is not None and deployment.failure is not None:
            self.panels.tabs.setCurrentWidget(self._log)
            self._log.show_failure(deployment.failure.evidence)


async def _import_to_its_end(module: str) -> None:
    """Also where it is given up meanwhile: the end imports as well, and no two threads are to."""
    importing = asyncio.ensure_future(asyncio.to_thread(importlib.import_module, module))
    try:
        await asyncio.shield(importing)
    except asyncio.CancelledError:
        await asyncio.wait({importing})
        raise
