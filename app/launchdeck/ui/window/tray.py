"""The icon in the system's tray: how things stand, and every live model within two clicks."""

from __future__ import annotations

from collections import Counter
from enum import StrEnum
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, QTimer, Signal
from PySide6.QtGui import QIcon
from PySide6.QtWidgets import QMenu, QSystemTrayIcon

from launchdeck.domain.deployment import State
from launchdeck.ui.kit.deployment_text import state_word
from launchdeck.ui.kit.format import gib, gib_capacity
from launchdeck.ui.kit.i18n import tr
from launchdeck.ui.kit.icons import badged_app_icon
from launchdeck.ui.kit.names import place_and_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from launchdeck.domain.deployment import Deployment
    from launchdeck.domain.gpu import GpuReading, Inventory

_LOOK_MS = 5000  # a session's panel takes its time
_TROUBLE = {State.FAILED, State.UNRESPONSIVE}


class TrayState(StrEnum):
    """Also the names of the badges in resources/icons; there is none for IDLE."""

    IDLE = "idle"
    LOADING = "loading"
    RUNNING = "running"
    FAILED = "failed"


class Tray(QObject):
    """Shown as soon as the system has a tray, which may come after us where both are started with the session. The
    signals with a string carry a deployment's id.

    Qt binds an icon to the kind of tray that is there when it is made, so it is made when there is one.
    """

    show_requested = Signal()
    quit_requested = Signal()
    open_requested = Signal(str)
    copy_url_requested = Signal(str)
    stop_requested = Signal(str)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._state: TrayState | None = None
        self._title = "Launchdeck"
        self._devices: tuple[GpuReading, ...] = ()
        self._deployments: tuple[Deployment, ...] = ()
        self._listed: list[tuple[str, str, State]] | None = None
        self._has_said_where = False
        self._icon: QSystemTrayIcon | None = None
        self.picture = QIcon()
        self.tooltip = ""
        self.menu = QMenu()
        self._looking = QTimer(self, interval=_LOOK_MS)
        self._looking.timeout.connect(self.is_there)
        self.show_deployments(())

    def appear(self) -> None:
        """Show the icon now, or as soon as there is a tray."""
        if not self.is_there():
            self._looking.start()

    def hide(self) -> None:
        """Take the icon away, for good."""
        self._looking.stop()
        if self._icon is not None:
            self._icon.hide()

    def is_there(self) -> bool:
        """Look whether there is a tray at this moment, which then has the icon."""
        if not QSystemTrayIcon.isSystemTrayAvailable():
            return False
        if self._icon is None:
            self._looking.stop()
            self._icon = self._make_icon()
        return True

    def _make_icon(self) -> QSystemTrayIcon:
        icon = QSystemTrayIcon(self.picture, self)
        icon.setToolTip(self.tooltip)
        icon.setContextMenu(self.menu)
        icon.activated.connect(self._on_activated)
        icon.show()
        return icon

    @property
    def state(self) -> TrayState:
        """What the icon says: the worst of all deployments."""
        states = [deployment.state for deployment in self._deployments]
        if any(state in _TROUBLE for state in states):
            return TrayState.FAILED
        if any(state.status == "loading" for state in states):
            return TrayState.LOADING
        return TrayState.RUNNING if any(state.is_live for state in states) else TrayState.IDLE

    def show_inventory(self, inventory: Inventory) -> None:
        """A new reading, for the tooltip."""
        self._devices = inventory.gpus or (inventory.cpu,)
        self._title = f"Launchdeck · {tr('REPLAY')}" if inventory.replayed else "Launchdeck"
        self._show_tooltip()

    def show_deployments(self, deployments: Sequence[Deployment]) -> None:
        """Bring icon, tooltip and menu up to date."""
        self._deployments = tuple(deployments)
        if self.state is not self._state:
            self._state = self.state
            self.picture = badged_app_icon(None if self.state is TrayState.IDLE else f"badge-{self.state}")
            if self._icon is not None:
                self._icon.setIcon(self.picture)
        self._show_tooltip()
        self._fill_menu()

    def warn(self, text: str) -> None:
        """A desktop notification, where there is a tray to send it from."""
        if self._icon is not None:
            self._icon.showMessage("Launchdeck", text, QSystemTrayIcon.MessageIcon.Warning)

    def say_where_it_went(self) -> None:
        """The window has gone here and not ended: worth saying, once."""
        if self._icon is not None and not self._has_said_where:
            self._has_said_where = True
            text = tr("Launchdeck stays here, and its models go on. Quit in this icon's menu ends it.")
            self._icon.showMessage("Launchdeck", text, QSystemTrayIcon.MessageIcon.Information)

    def _show_tooltip(self) -> None:
        count = Counter(deployment.state.status for deployment in self._deployments)
        summary = tr(
            "{running} running, {loading} loading, {failed} failed",
            running=count["running"],
            loading=count["loading"],
            failed=count["failed"],
        )
        self.tooltip = "\n".join([self._title, *map(_memory_line, self._devices), summary])
        if self._icon is not None:
            self._icon.setToolTip(self.tooltip)

    def _fill_menu(self) -> None:
        """Only if it says something else now: a menu of 20 models takes as long as a frame."""
        live = [deployment for deployment in self._deployments if deployment.state.is_live]
        listed = [(deployment.id, deployment.plan.model_id, deployment.state) for deployment in live]
        if listed == self._listed:
            return
        self._listed = listed
        for menu in self.menu.findChildren(QMenu):  # clear() alone would leave the models' menus behind
            menu.deleteLater()
        self.menu.clear()
        for deployment in live:
            self._add_model(deployment)
        self.menu.addSeparator()
        self.menu.addAction(tr("Show Launchdeck"), self.show_requested.emit)
        self.menu.addAction(tr("Quit"), self.quit_requested.emit)

    def _add_model(self, deployment: Deployment) -> None:
        menu = self.menu.addMenu(f"{deployment.plan.model_id} · {state_word(deployment.state)}")
        menu.addAction(tr("Open in the browser"), lambda: self.open_requested.emit(deployment.id))
        menu.addAction(tr("Copy URL"), lambda: self.copy_url_requested.emit(deployment.id))
        menu.addAction(tr("Stop"), lambda: self.stop_requested.emit(deployment.id))

    def _on_activated(self, reason: QSystemTrayIcon.ActivationReason) -> None:
        if reason == QSystemTrayIcon.ActivationReason.Trigger:
            self.show_requested.emit()


def _memory_line(reading: GpuReading) -> str:
    name = place_and_name(reading.gpu)
    return f"{name}  {gib(reading.sample.used_memory_bytes)} / {gib_capacity(reading.gpu.total_memory_bytes)} GiB"
