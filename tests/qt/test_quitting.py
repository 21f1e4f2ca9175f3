"""How the application ends: by its key, by the question, by what is remembered."""

from __future__ import annotations

import logging

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QPushButton, QTabWidget

from launchdeck.settings.store import SettingsStore
from launchdeck.ui.charts.charts import Charts
from launchdeck.ui.deploy.deploy_form import DeployForm
from launchdeck.ui.deployments.deployments_view import DeploymentsView
from launchdeck.ui.gpus.gpu_cards import GpuCards
from launchdeck.ui.window.main_window import MainWindow, Panels
from launchdeck.ui.window.quit_dialog import QuitDialog
from launchdeck.ui.window.quitting import Quitting
from launchdeck.ui.window.window_memory import WindowMemory


@pytest.fixture
def window(qtbot, tmp_path) -> MainWindow:
    panels = Panels(GpuCards(), Charts(5.0), DeploymentsView(), QTabWidget(), DeployForm(lambda _: None))
    window = MainWindow(panels, WindowMemory(tmp_path / "window.ini"))
    qtbot.addWidget(window, before_close_func=lambda window: window.close_for_good())
    return window


@pytest.fixture
def store(tmp_path) -> SettingsStore:
    return SettingsStore(tmp_path / "config" / "settings.toml")


@pytest.fixture
def quitting(window, store) -> Quitting:
    return Quitting(window, store)


def questions(window: MainWindow) -> list[QuitDialog]:
    return [question for question in window.findChildren(QuitDialog) if question.isVisible()]


def answer(window: MainWindow, text: str, *, remember: bool = False) -> None:
    (question,) = questions(window)
    question.checkBox().setChecked(remember)
    next(button for button in question.findChildren(QPushButton) if button.text() == text).click()


def test_the_key_of_quit_quits_and_the_close_button_only_closes(qtbot, window):
    window.show()
    window.activateWindow()
    qtbot.waitUntil(window.isActiveWindow)
    window.close_requested.connect(lambda: pytest.fail("the key of Quit is not about the window"))
    with qtbot.waitSignal(window.quit_requested):
        qtbot.keyClick(window, Qt.Key.Key_Q, Qt.KeyboardModifier.ControlModifier)
    window.close_requested.disconnect()
    with qtbot.waitSignal(window.close_requested), qtbot.assertNotEmitted(window.quit_requested):
        window.close()
    assert window.isVisible()


def test_without_models_nothing_is_asked(qtbot, window, quitting):
    with qtbot.waitSignal(quitting.decided):
        quitting.ask(0)
    assert questions(window) == []


def test_asked_twice_there_is_one_question(qtbot, window, quitting):
    quitting.ask(2)
    quitting.ask(2)
    with qtbot.waitSignal(quitting.decided) as decided:
        answer(window, "Stop all")
    assert decided.args == [False]


def test_after_cancel_the_question_can_be_asked_again(qtbot, window, quitting):
    quitting.ask(2)
    with qtbot.assertNotEmitted(quitting.decided):
        answer(window, "Cancel")
    quitting.ask(1)
    (question,) = questions(window)
    assert "1" in question.text()


def test_a_remembered_answer_is_the_answer_from_then_on(qtbot, window, quitting, store):
    quitting.ask(1)
    answer(window, "Stop all", remember=True)
    assert store.settings.on_quit == "stop"
    with qtbot.waitSignal(quitting.decided) as decided:
        quitting.ask(1)
    assert decided.args == [False]


def test_an_answer_that_cannot_be_remembered_still_counts(qtbot, window, quitting, tmp_path, caplog):
    (tmp_path / "config").write_text("a file where the folder should be", encoding="utf-8")
    quitting.ask(1)
    with qtbot.waitSignal(quitting.decided) as decided, caplog.at_level(logging.WARNING):
        answer(window, "Keep serving", remember=True)
    assert decided.args == [True]
    assert "could not be remembered" in caplog.text
