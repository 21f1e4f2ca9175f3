"""The window's wiring: what a click starts, and where news from the rooms below goes. No layout, no arithmetic."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

from PySide6.QtCore import QObject, QUrl, Signal, Slot
from PySide6.QtGui import QDesktopServices, QGuiApplication
from PySide6.QtWidgets import QFileDialog

from launchdeck.core import Core
from launchdeck.domain.deployment import Deployment, State
from launchdeck.domain.errors import Cause, Failure, Fix, LaunchdeckError
from launchdeck.domain.gpu import Inventory
from launchdeck.domain.plan import LaunchPlan
from launchdeck.domain.request import ModelLoadRequest
from launchdeck.domain.text import Message
from launchdeck.engines.document import command_line
from launchdeck.files.apart import NoAnswerError, run_apart
from launchdeck.files.looking import is_folder
from launchdeck.models.errors import silent
from launchdeck.models.library import PATIENCE_S
from launchdeck.monitor.alerts import AlertWatch
from launchdeck.settings.schema import Settings
from launchdeck.ui.charts.chart_export import ChartExport
from launchdeck.ui.gpus.alert_text import alert_text
from launchdeck.ui.gpus.detection_dialog import DetectionDialog
from launchdeck.ui.kit.i18n import tr
from launchdeck.ui.kit.model_colors import keep_model_colors
from launchdeck.ui.kit.names import place_and_name
from launchdeck.ui.window.main_window import MainWindow, Panels
from launchdeck.ui.window.settings_dialog import SettingsDialog
from launchdeck.ui.window.tray import Tray

logger = logging.getLogger(__name__)
_PORT_HOLDS_S = 10.0
_MARKERS = {State.STARTING: "started", State.RUNNING: "ready", State.FAILED: "failed"}


class Controller(QObject):
    """Joins the window with the planner and the manager. Lives in the GUI thread, on the application's event loop."""

    settings_changed = Signal(object)
    refresh_requested = Signal()

    def __init__(self, window: MainWindow, panels: Panels, tray: Tray, core: Core) -> None:
        super().__init__(window)
        self._window = window
        self._panels = panels
        self._tray = tray
        self._core = core
        self._planner = core.planner
        self._manager = core.manager
        self._requests = core.requests
        self._is_accounting = False
        self._preparing: set[Path] = set()
        self._store = core.setup.store
        self._tasks: set[asyncio.Task[Any]] = set()
        self._states: dict[str, State] = {}
        self._is_closed = False
        self._port: int | None = None
        self._port_asked_at_s = 0.0
        self._inventory: Inventory | None = None
        self._alerts = AlertWatch()
        self._detection: DetectionDialog | None = None
        self._connect_window()
        self._connect_deployments()
        self._unsubscribe = (
            core.manager.subscribe(self._on_deployment),
            core.manager.subscribe_forgotten(self._on_forgotten),
            core.subscribe_inventory(self._show_inventory),
        )
        self.show_all()

    def close(self) -> None:
        """No news reach the window from here on; what a click started is given up."""
        for unsubscribe in self._unsubscribe:
            unsubscribe()
        self._is_closed = True
        for task in self._tasks:
            task.cancel()

    def preview(self, request: ModelLoadRequest) -> LaunchPlan | None:
        """What the form shows while it is being filled in; None while the model's header is being read."""
        plan = self._planner.preview(request, self._suggested_port())
        path = request.model_path
        if plan is None and path not in self._preparing and not self._planner.is_prepared(path):
            self._preparing.add(path)
            self.spawn(self._prepare(path))
        return plan

    def _suggested_port(self) -> int:
        """For the preview; the launch takes its own. Asked again now and then, because a slider asks often and the
        kernel's table of connections may be long.
        """
        now_s = time.monotonic()
        if self._port is None or now_s - self._port_asked_at_s > _PORT_HOLDS_S:
            self._port_asked_at_s = now_s
            port = self._manager.suggest_port()
            self._port = self._store.settings.first_port if port is None else port
        return self._port

    @Slot(object)
    def on_inventory(self, inventory: Inventory) -> None:
        """A new reading of all devices, out of the sampler's thread."""
        self._core.observe(inventory)

    def _show_inventory(self, inventory: Inventory) -> None:
        self._inventory = inventory
        self._show_promises()
        self._panels.charts.show_inventory(inventory)
        self._tray.show_inventory(inventory)
        self._warn(inventory)
        if self._detection is not None:
            self._detection.show_inventory(inventory)
        if inventory.replayed:
            self._window.show_replay()

    def _show_promises(self) -> None:
        """What is free, and what of it is promised, where that is told."""
        known = self._planner.inventory
        if known is not None:
            self._panels.cards.show_inventory(known)
            self._panels.form.set_inventory(known)

    def _warn(self, inventory: Inventory) -> None:
        """Mark the cards as long as an alert lasts; tell of a new one once, unless it happened elsewhere."""
        news = self._alerts.observe(inventory, self._store.settings)
        self._panels.cards.show_alerts(news.active)
        if news.raised and not inventory.replayed:
            text = "\n".join(f"{place_and_name(alert.gpu)}: {alert_text(alert)}" for alert in news.raised)
            self._window.notice.show_text(text)
            self._tray.warn(text)

    def show_all(self) -> None:
        """Bring everything that shows deployments up to date."""
        deployments = self._manager.deployments
        self._port = None
        keep_model_colors(d.id for d in deployments)
        self._panels.deployments.set_deployments(deployments)
        self._panels.cards.show_deployments(deployments)
        self._window.status_line.show_deployments(deployments, self._store.settings.ports)
        self._tray.show_deployments(deployments)

    def spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[None]:
        """Run this beside the window; what goes wrong is told in the window, not to who awaits it."""
        task = asyncio.get_running_loop().create_task(self._tell_failures(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda _task: work.close())  # where it was cancelled before it began
        if self._is_closed:  # a timer of the form's, say, that had not run out yet
            task.cancel()
        return task

    async def _tell_failures(self, work: Coroutine[Any, Any, Any]) -> None:
        try:
            await work
        except LaunchdeckError as error:
            logger.info("%s", error)
            self._window.notice.show_failure(error.failure)
        except NoAnswerError as error:
            logger.info("%s", error)
            self._window.notice.show_failure(silent(error).failure)
        except Exception:
            logger.exception("unexpected failure")
            self._window.notice.show_text(tr("Something unexpected went wrong; the log has the details."))

    def _connect_window(self) -> None:
        top = self._window.top_bar
        top.range_changed.connect(self._panels.charts.set_range_s)
        top.paused_changed.connect(self._panels.charts.set_paused)
        top.now_requested.connect(self._panels.charts.go_live)
        self._panels.charts.view_changed.connect(top.show_view)
        export = ChartExport(self._panels.charts, self._window.notice, self.spawn)
        top.csv_requested.connect(export.ask_csv)
        top.png_requested.connect(export.ask_png)
        top.settings_requested.connect(self._open_settings)
        form = self._panels.form
        form.deploy_requested.connect(self._deploy)
        form.add_folder_requested.connect(self._choose_folder)
        form.failed.connect(self._window.notice.show_failure)
        form.use_memory(self._requests)
        form.rested.connect(self._account)
        self._window.dropped.connect(self._take_dropped)
        self._panels.cards.use_clicked.connect(form.use_device)
        form.devices_shown.connect(self._panels.cards.show_used)
        self._panels.cards.detection_requested.connect(self._show_detection)

    def _connect_deployments(self) -> None:
        view = self._panels.deployments
        view.stop_requested.connect(self.stop)
        view.restart_requested.connect(lambda key: self.spawn(self._manager.restart(key)))
        view.dismiss_requested.connect(self._told(self._manager.dismiss))
        view.fix_requested.connect(self._told(self._apply_fix))
        self._tray.stop_requested.connect(self.stop)
        for shows_deployments in (view, self._tray):
            shows_deployments.open_requested.connect(self._told(self._open_url))
            shows_deployments.copy_url_requested.connect(self._told(self._copy_url))
        view.mark_requested.connect(self._told(self._mark_start))
        view.show_marks(self._manager.start_list)
        view.copy_key_requested.connect(self._told(lambda key: _copy(self._manager.api_key(key) or "")))
        view.copy_command_requested.connect(
            self._told(lambda key: _copy(command_line(self._manager.deployment(key).plan)))
        )

    def _told(self, act: Callable[..., None]) -> Callable[..., None]:
        """As a slot: why it cannot be done is told, say that the row was removed while its menu was open."""

        def slot(*arguments: Any) -> None:
            try:
                act(*arguments)
            except LaunchdeckError as error:
                self._window.notice.show_failure(error.failure)

        return slot

    @Slot(object)
    def _account(self, plan: LaunchPlan) -> None:
        """Have the engine itself say what the launch in the form would take; one question at a time."""
        if not self._is_accounting and self._planner.can_account(plan):
            self._is_accounting = True
            self.spawn(self._ask_for_account(plan))

    async def _ask_for_account(self, plan: LaunchPlan) -> None:
        try:
            if await asyncio.to_thread(self._planner.account, plan):
                self._panels.form.refresh()
        finally:
            self._is_accounting = False

    @Slot(object)
    def _deploy(self, request: ModelLoadRequest) -> None:
        self.spawn(self._load(request))

    async def _load(self, request: ModelLoadRequest, *, force: bool = False) -> None:
        """As over HTTP: what does not fit is refused unless it is forced, which the user is asked about here."""
        refusals: list[Failure] = []

        def refuse(plan: LaunchPlan) -> Failure | None:
            why = None if force else self._planner.refuse(plan)
            refusals.extend([why] if why else [])
            return why

        try:
            deployment = await self._manager.load(request, only_if=refuse)
        except LaunchdeckError as error:
            if error.failure not in refusals:
                raise
            self._ask_to_force(request, error.failure)
            return
        self._requests.remember(request)
        self._panels.deployments.select(deployment.id)

    def _ask_to_force(self, request: ModelLoadRequest, refusal: Failure) -> None:
        from launchdeck.ui.deploy.anyway_dialog import AnywayDialog  # noqa: PLC0415 (when it is wanted)

        if any(asked.isVisible() for asked in self._window.findChildren(AnywayDialog)):
            return  # the key was pressed twice
        question = AnywayDialog(refusal, self._window)
        question.confirmed.connect(lambda: self.spawn(self._load(request, force=True)))
        question.open()

    @Slot(str)
    def stop(self, deployment_id: str) -> None:
        self.spawn(self._manager.stop(deployment_id))

    def _copy_url(self, deployment_id: str) -> None:
        _copy(self._manager.deployment(deployment_id).plan.url)

    def _open_url(self, deployment_id: str) -> None:
        plan = self._manager.deployment(deployment_id).plan
        QDesktopServices.openUrl(QUrl(f"http://{plan.host}:{plan.port}/"))

    def _mark_start(self, deployment_id: str, marked: bool) -> None:  # noqa: FBT001 (a signal's argument)
        plan = self._manager.deployment(deployment_id).plan
        self._manager.start_list.mark(plan.model_id, plan.request, marked=marked)

    def _apply_fix(self, deployment_id: str, fix: Fix) -> None:
        """The changed request goes into the form, so that what will be started is seen first."""
        changes: dict[str, Any] = dict(fix.changes)
        self._panels.form.show_request(replace(self._manager.deployment(deployment_id).plan.request, **changes))

    def _on_forgotten(self, deployment: Deployment) -> None:
        self._states.pop(deployment.id, None)
        self.show_all()

    def _on_deployment(self, deployment: Deployment) -> None:
        before = self._states.get(deployment.id)
        self._states[deployment.id] = deployment.state
        if before is deployment.state:
            self._panels.deployments.update_deployment(deployment)
        else:
            self.show_all()
            self._show_promises()
            self._panels.form.refresh()  # ports and memory have changed
            self._mark(deployment)

    def _mark(self, deployment: Deployment) -> None:
        kind = _MARKERS.get(deployment.state)
        if kind is not None and not deployment.adopted:
            words = {"started": tr("started"), "ready": tr("ready"), "failed": tr("failed")}
            self._panels.charts.add_marker(time.time(), f"{deployment.plan.model_id} {words[kind]}", kind)

    async def _prepare(self, path: Path) -> None:
        try:
            await run_apart(lambda: self._planner.prepare(path))
        finally:
            self._preparing.discard(path)
        self._panels.form.refresh()

    @Slot(object)
    def _take_dropped(self, path: Path) -> None:
        self.spawn(self._add_dropped(path))

    async def _add_dropped(self, path: Path) -> None:
        """Have a folder searched from now on; a model's file is chosen as well, and its folder searched."""
        if await run_apart(lambda: is_folder(path), PATIENCE_S):
            self._add_folder(str(path))
        elif path.suffix.lower() == ".gguf":
            self._add_folder(str(path.parent))
            self._panels.form.choose_model(path)
        else:
            raise LaunchdeckError.of(
                Cause.BAD_REQUEST,
                Message("{name} is no model.", name=path.name),
                Message("Drop a GGUF file, or a folder with models."),
            )

    def _choose_folder(self) -> None:
        dialog = QFileDialog(self._window, tr("Folder with models"))
        dialog.setFileMode(QFileDialog.FileMode.Directory)
        dialog.fileSelected.connect(self._add_folder)
        dialog.open()

    def _add_folder(self, folder: str) -> None:
        settings = self._store.settings
        if folder not in settings.model_folders:
            self._save(replace(settings, model_folders=(*settings.model_folders, folder)))

    def _open_settings(self) -> None:
        dialog = SettingsDialog(self._store.settings, self._window)
        dialog.saved.connect(lambda settings: self._save(settings, dialog))
        dialog.open()

    def _show_detection(self) -> None:
        if self._inventory is None:
            return
        self._detection = DetectionDialog(self._inventory, self._window)
        self._detection.refresh_requested.connect(self.refresh_requested)
        self._detection.finished.connect(self._forget_detection)
        self._detection.open()

    def _forget_detection(self) -> None:
        if self._detection is not None:
            self._detection.deleteLater()
        self._detection = None

    def _save(self, settings: Settings, dialog: SettingsDialog | None = None) -> None:
        try:
            self._store.save(settings)
        except LaunchdeckError as error:
            if dialog is None:
                self._window.notice.show_failure(error.failure)
            else:
                dialog.show_problem(tr(error.failure.message))
            return
        if dialog is not None:
            dialog.accept()
        self.settings_changed.emit(self._store.settings)


def _copy(text: str) -> None:
    QGuiApplication.clipboard().setText(text)
