"""Settings, the question that Quit asks, and the notice line."""

from __future__ import annotations

import dataclasses

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import (
    QCheckBox,
    QComboBox,
    QLabel,
    QLineEdit,
    QPlainTextEdit,
    QPushButton,
    QSpinBox,
    QTabWidget,
    QWidget,
)

from launchdeck.domain.errors import Cause, Failure
from launchdeck.domain.text import Message
from launchdeck.settings.schema import Settings
from launchdeck.ui.kit import i18n
from launchdeck.ui.kit.notice import Notice
from launchdeck.ui.window.quit_dialog import QuitDialog
from launchdeck.ui.window.settings_dialog import SettingsDialog
from launchdeck.ui.window.status_line import StatusLine
from qt.form_driver import wheel_down


def button(dialog: QWidget, text: str) -> QPushButton:
    return next(b for b in dialog.findChildren(QPushButton) if b.text().replace("&", "") == text)


def test_settings_saved_untouched_are_the_same(qtbot) -> None:
    before = Settings(language="ko", theme="light", model_folders=("/a", "/b"), stop_grace_s=7.5, first_port=8003)
    dialog = SettingsDialog(before)
    qtbot.addWidget(dialog)
    with qtbot.waitSignal(dialog.saved) as saved:
        qtbot.mouseClick(button(dialog, "Save"), Qt.MouseButton.LeftButton)
    assert saved.args == [before]


def test_every_setting_can_be_changed(qtbot) -> None:
    dialog = SettingsDialog(Settings())
    qtbot.addWidget(dialog)
    dialog.findChild(QComboBox, "theme").setCurrentIndex(1)
    dialog.findChild(QCheckBox, "model_api_keys").setChecked(False)
    dialog.findChild(QPlainTextEdit, "model_folders").setPlainText("  /models \n\n/more\n")
    dialog.findChild(QLineEdit, "llama_server_path").setText(" /opt/llama-server ")
    dialog.findChild(QSpinBox, "last_port").setValue(8010)
    with qtbot.waitSignal(dialog.saved) as saved:
        button(dialog, "Save").click()
    assert saved.args == [
        dataclasses.replace(
            Settings(),
            theme="dark",
            model_api_keys=False,
            model_folders=("/models", "/more"),
            llama_server_path="/opt/llama-server",
            last_port=8010,
        )
    ]
    names = {editor.objectName() for editor in dialog.findChildren(QWidget) if editor.objectName()}
    assert {field.name for field in dataclasses.fields(Settings)} <= names


@pytest.mark.parametrize("language", ["en", "ko"])
def test_no_page_of_the_settings_is_cut_off_at_its_side(qtbot, language: str) -> None:
    i18n.set_language(language)
    dialog = SettingsDialog(Settings())
    qtbot.addWidget(dialog)
    dialog.show()
    pages = dialog.findChild(QTabWidget)
    for place in range(pages.count()):
        pages.setCurrentIndex(place)
        area = pages.widget(place)
        qtbot.waitUntil(lambda area=area: area.widget().width() <= area.viewport().width())
        for editor in area.widget().findChildren(QWidget):
            if editor.objectName() and editor.isVisible():
                right = editor.mapTo(area.widget(), editor.rect().topRight()).x()
                assert right < area.viewport().width(), editor.objectName()


def test_each_setting_says_when_it_takes_effect(qtbot) -> None:
    dialog = SettingsDialog(Settings())
    qtbot.addWidget(dialog)
    for field in dataclasses.fields(Settings):
        editor, effect = dialog.findChild(QWidget, field.name), i18n.tr(field.metadata["effect"].value)
        assert editor.accessibleDescription() == effect
        shown = [label.text() for label in editor.parentWidget().findChildren(QLabel)]
        assert effect in shown


def test_the_wheel_scrolls_the_settings_and_changes_none(qtbot) -> None:
    dialog = SettingsDialog(Settings())
    qtbot.addWidget(dialog)
    dialog.show()
    for name in ("theme", "detection", "last_port", "sampling_interval_s"):
        wheel_down(dialog.findChild(QWidget, name))
    with qtbot.waitSignal(dialog.saved) as saved:
        button(dialog, "Save").click()
    assert saved.args == [Settings()]


def test_settings_that_contradict_each_other_are_told_and_nothing_is_lost(qtbot) -> None:
    dialog = SettingsDialog(Settings())
    qtbot.addWidget(dialog)
    dialog.show()
    dialog.findChild(QSpinBox, "first_port").setValue(9000)
    dialog.saved.connect(lambda _: pytest.fail("saved"))
    button(dialog, "Save").click()
    assert any("first_port" in label.text() for label in dialog.findChildren(QLabel) if label.isVisible())
    assert dialog.isVisible()
    assert dialog.findChild(QSpinBox, "first_port").value() == 9000


@pytest.mark.parametrize(("text", "answer"), [("Keep serving", "keep"), ("Stop all", "stop")])
@pytest.mark.parametrize("remember", [True, False])
def test_the_question_of_quit(qtbot, text: str, answer: str, remember: bool) -> None:
    dialog = QuitDialog(3)
    qtbot.addWidget(dialog)
    assert "3" in dialog.text()
    dialog.checkBox().setChecked(remember)
    with qtbot.waitSignal(dialog.answered) as answered:
        button(dialog, text).click()
    assert answered.args == [answer, remember]


def test_cancel_answers_nothing(qtbot) -> None:
    dialog = QuitDialog(1)
    qtbot.addWidget(dialog)
    dialog.answered.connect(lambda *_: pytest.fail("answered"))
    dialog.open()
    qtbot.keyClick(dialog, Qt.Key.Key_Escape)
    assert not dialog.isVisible()


def test_a_notice_says_what_happened_and_what_to_do_until_it_is_put_away(qtbot) -> None:
    notice = Notice()
    qtbot.addWidget(notice)
    assert notice.text == ""
    notice.show_failure(Failure(Cause.NO_PORT, Message("No port is left."), Message("Stop a model.")))
    assert notice.text == "No port is left. Stop a model."
    notice.findChild(QPushButton).click()
    assert notice.text == ""


def test_the_status_line_counts_nothing_where_nothing_runs(qtbot) -> None:
    line = StatusLine()
    qtbot.addWidget(line)
    line.show_deployments((), range(8001, 8021))
    texts = [label.text() for label in line.findChildren(QLabel)]
    assert "0 running, 0 loading, 0 failed" in texts
    assert "ports 8001–8020: 20 free" in texts


def test_the_dialogs_speak_korean(qtbot) -> None:
    i18n.set_language("ko")
    try:
        dialog = SettingsDialog(Settings())
        qtbot.addWidget(dialog)
        words = [label.text() for label in dialog.findChildren(QLabel)] + [
            box.text() for box in dialog.findChildren(QCheckBox)
        ]
        assert len(words) >= len(dataclasses.fields(Settings))
        assert [word for word in words if word and not any("가" <= letter <= "힣" for letter in word)] == []
    finally:
        i18n.set_language("en")
