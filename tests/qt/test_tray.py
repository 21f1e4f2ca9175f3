from __future__ import annotations

from dataclasses import replace

import pytest
from PySide6.QtCore import QTimer
from PySide6.QtGui import QAction
from PySide6.QtWidgets import QMenu, QSystemTrayIcon

from fakes.samples import deployment, failed_deployment, inventory, two_gpus
from launchdeck.domain.deployment import Deployment, State
from launchdeck.ui.window.tray import Tray, TrayState


@pytest.fixture
def tray(qapp) -> Tray:
    return Tray()


def submenu(tray: Tray, title: str) -> list[QAction]:
    return next(action.menu().actions() for action in tray.menu.actions() if action.text() == title)


@pytest.mark.parametrize(
    ("deployments", "state"),
    [
        ((), TrayState.IDLE),
        ((deployment(state=State.STOPPED),), TrayState.IDLE),
        ((deployment(state=State.RUNNING),), TrayState.RUNNING),
        ((deployment(state=State.RUNNING), deployment("d2", state=State.LOADING)), TrayState.LOADING),
        ((deployment(state=State.RUNNING), deployment("d2", state=State.STOPPING)), TrayState.RUNNING),
        ((deployment(state=State.LOADING), failed_deployment()), TrayState.FAILED),
        ((deployment(state=State.UNRESPONSIVE),), TrayState.FAILED),
    ],
)
def test_icon_tells_the_worst_state(tray: Tray, deployments: tuple[Deployment, ...], state: TrayState):
    tray.show_deployments(deployments)
    assert tray.state is state


def test_every_state_has_a_picture_of_its_own(tray: Tray):
    pictures = []
    for states in ((), (State.LOADING,), (State.RUNNING,), (State.UNRESPONSIVE,)):
        tray.show_deployments(tuple(deployment(state=state) for state in states))
        pictures.append(tray.picture.pixmap(32, 32).toImage())
    assert all(one != other for at, one in enumerate(pictures) for other in pictures[:at])


def test_the_menu_is_made_again_only_where_it_says_something_else(tray: Tray):
    tray.show_deployments((deployment(),))
    made = tray.menu.actions()
    tray.show_deployments((replace(deployment(), rss_bytes=5),))
    assert tray.menu.actions() == made
    tray.show_deployments((deployment(state=State.STOPPING),))
    assert tray.menu.actions() != made


def test_tooltip_tells_memory_per_gpu_and_counts(tray: Tray):
    tray.show_inventory(two_gpus())
    tray.show_deployments((deployment(), deployment("d2", state=State.LOADING)))
    assert tray.tooltip.splitlines() == [
        "Launchdeck",
        "0 RTX 4090  11.4 / 24 GiB",
        "1 RX 7900 XTX  4.1 / 24 GiB",
        "1 running, 1 loading, 0 failed",
    ]


def test_without_a_gpu_the_tooltip_tells_the_ram(tray: Tray):
    tray.show_inventory(inventory())
    assert "CPU  18.2 / 64 GiB" in tray.tooltip


def test_menu_has_every_live_model(tray: Tray):
    tray.show_deployments(
        (deployment("d1", "qwen3-8b"), deployment("d2", "bge-m3", State.LOADING), failed_deployment())
    )
    titles = [action.text() for action in tray.menu.actions() if action.menu() is not None]
    assert titles == ["qwen3-8b · running", "bge-m3 · loading"]


@pytest.mark.parametrize(("place", "signal"), [(0, "open_requested"), (1, "copy_url_requested"), (2, "stop_requested")])
def test_menu_of_a_model_names_its_deployment(qtbot, tray: Tray, place: int, signal: str):
    tray.show_deployments((deployment("d1", "qwen3-8b"), deployment("d2", "bge-m3")))
    with qtbot.waitSignal(getattr(tray, signal)) as emitted:
        submenu(tray, "bge-m3 · running")[place].trigger()
    assert emitted.args == ["d2"]


@pytest.mark.parametrize(("text", "signal"), [("Show Launchdeck", "show_requested"), ("Quit", "quit_requested")])
def test_show_and_quit(qtbot, tray: Tray, text: str, signal: str):
    with qtbot.waitSignal(getattr(tray, signal)):
        next(action for action in tray.menu.actions() if action.text() == text).trigger()


@pytest.fixture
def system_tray(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether the system has one; at first it has none."""
    there = [False]
    monkeypatch.setattr(QSystemTrayIcon, "isSystemTrayAvailable", lambda: there[-1])
    return there


def icon_of(tray: Tray) -> QSystemTrayIcon | None:
    return tray.findChild(QSystemTrayIcon)


def test_a_tray_that_comes_later_gets_the_icon_as_it_is_then(qtbot, tray: Tray, system_tray):
    tray.findChild(QTimer).setInterval(10)
    tray.appear()
    assert icon_of(tray) is None
    tray.show_deployments((deployment("d1", "qwen3-8b"),))
    system_tray.append(True)
    qtbot.waitUntil(lambda: icon_of(tray) is not None)
    icon = icon_of(tray)
    assert (icon.isVisible(), icon.toolTip(), icon.contextMenu()) == (True, tray.tooltip, tray.menu)
    assert "1 running" in icon.toolTip()
    tray.show_deployments(())
    assert "0 running" in icon.toolTip()
    tray.hide()
    assert not icon.isVisible()


def test_whether_there_is_a_tray_is_asked_at_that_moment(tray: Tray, system_tray):
    assert not tray.is_there()
    system_tray.append(True)
    assert tray.is_there()
    assert icon_of(tray).isVisible()
    system_tray.append(False)
    assert not tray.is_there()


def test_a_click_shows_the_window(qtbot, tray: Tray, system_tray):
    system_tray.append(True)
    tray.appear()
    with qtbot.waitSignal(tray.show_requested):
        icon_of(tray).activated.emit(QSystemTrayIcon.ActivationReason.Trigger)


def test_the_menus_of_models_that_are_gone_are_gone(qtbot, tray: Tray):
    for number in range(20):
        tray.show_deployments((deployment(f"d{number}"), deployment("d2")))
    qtbot.waitUntil(lambda: len(tray.menu.findChildren(QMenu)) == 2)


def test_that_the_window_went_to_the_tray_is_said_once(tray: Tray, system_tray, monkeypatch: pytest.MonkeyPatch):
    said: list[str] = []
    monkeypatch.setattr(QSystemTrayIcon, "showMessage", lambda _icon, _title, text, _kind: said.append(text))
    tray.say_where_it_went()
    assert said == [], "there is none yet"
    system_tray.append(True)
    tray.appear()
    tray.say_where_it_went()
    tray.say_where_it_went()
    assert len(said) == 1
    assert "Quit" in said[0]


def test_a_recorded_machine_is_marked(tray: Tray):
    tray.show_inventory(replace(two_gpus(), replayed=True))
    assert tray.tooltip.startswith("Launchdeck · REPLAY\n")
