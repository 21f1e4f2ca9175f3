"""Driving the real window: what the journeys share."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable

import psutil
from PySide6.QtCore import QEvent, Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QPlainTextEdit, QPushButton, QWidget

from fakes.serving import free_ports
from launchdeck.compose import in_window
from launchdeck.core import Core
from launchdeck.domain.deployment import Deployment, State
from launchdeck.settings.paths import Paths
from launchdeck.settings.schema import Settings
from launchdeck.settings.setup import Setup
from launchdeck.ui.application import WindowApplication
from launchdeck.ui.window.main_window import MainWindow

DEADLINE_S = 60.0

Journey = Callable[[WindowApplication, Core], Awaitable[None]]


def in_real_window(journey: Journey, settings: Settings | None = None) -> None:
    """Open the window, wait until it knows engines and models, do the journey, and take everything down."""

    async def main(application: WindowApplication) -> int:
        await application.start()
        core = application.core
        try:
            await until(lambda: core.planner.engines is not None and core.planner.inventory is not None, "engines")
            await journey(application, core)
        finally:
            await application.end(keep=False)
        return 0

    assert in_window(Setup.of(Paths.resolve(), settings=settings), main) == 0
    _forget_windows()


def _forget_windows() -> None:
    """The application ends with its window; a process of tests goes on, and would style all of them ever anew."""
    for widget in QApplication.topLevelWidgets():
        if isinstance(widget, MainWindow):
            widget.deleteLater()
    QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)


async def until(is_true: Callable[[], object], what: str, deadline_s: float = DEADLINE_S) -> None:
    try:
        async with asyncio.timeout(deadline_s):
            while not is_true():
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"waited {deadline_s} s for: {what}") from None


def click(parent: QWidget, accessible_name: str) -> None:
    """Click the button with this accessible name (or text), as a person would: it has to be there and enabled."""
    QTest.mouseClick(button(parent, accessible_name), Qt.MouseButton.LeftButton)


def button(parent: QWidget, name: str) -> QPushButton:
    found = [b for b in parent.findChildren(QPushButton) if name in (b.accessibleName(), b.text().replace("&", ""))]
    assert len(found) == 1, f"{len(found)} buttons named {name}"
    return found[0]


async def deploy(application: WindowApplication, core: Core) -> Deployment:
    """Press Deploy as soon as it can be pressed, and wait until the model runs."""
    deploy_button = button(application.panels.form, "Deploy")
    await until(deploy_button.isEnabled, "the Deploy button")
    before = {d.id for d in core.manager.deployments}
    click(application.panels.form, "Deploy")
    await until(lambda: {d.id for d in core.manager.deployments} - before, "a new deployment")
    (new,) = {d.id for d in core.manager.deployments} - before
    await until(lambda: current(core, new).state in {State.RUNNING, State.FAILED}, "a running model")
    assert current(core, new).state is State.RUNNING, current(core, new).failure
    return current(core, new)


def current(core: Core, deployment_id: str) -> Deployment:
    return next(d for d in core.manager.deployments if d.id == deployment_id)


def assert_gone(deployment: Deployment) -> None:
    """No process of its tree is left, and its port can be bound."""
    assert deployment.pids
    assert [pid for pid in deployment.pids if psutil.pid_exists(pid)] == []
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # what is left of closed connections is no matter
        probe.bind((deployment.plan.host, deployment.plan.port))
        probe.listen()


def text_field(parent: QWidget, accessible_name: str) -> QPlainTextEdit:
    """The one with this accessible name; where there are several (of several deployments), the one in sight."""
    found = [edit for edit in parent.findChildren(QPlainTextEdit) if edit.accessibleName() == accessible_name]
    (one,) = found if len(found) == 1 else [edit for edit in found if edit.isVisible()]
    return one


def type_and_send(pane: QWidget, text: str) -> None:
    text_field(pane, "Prompt").setPlainText(text)
    click(pane, "Send")


def quick_settings(**changes: object) -> Settings:
    ports = free_ports(20)
    return Settings(
        **{
            "language": "en",
            "theme": "dark",
            "sampling_interval_s": 1.0,
            "first_port": ports.start,
            "last_port": ports.stop - 1,
            "stop_grace_s": 5.0,
            "api_port": 0,
            **changes,
        }
    )  # type: ignore[arg-type]
