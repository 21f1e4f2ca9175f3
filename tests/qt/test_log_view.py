from __future__ import annotations

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QApplication, QCheckBox, QComboBox, QLineEdit, QPlainTextEdit, QPushButton

from launchdeck.serving.logs import LogBuffer
from launchdeck.ui import i18n, log_view
from launchdeck.ui.log_levels import LogLevel, level_of
from launchdeck.ui.log_view import LogTab

WAIT_MS = 5000


@pytest.fixture(autouse=True)
def english():
    i18n.set_language("en")


@pytest.fixture
def buffer():
    buffer = LogBuffer()
    buffer.feed(b"one\ntwo\nthree\n")
    return buffer


@pytest.fixture
def tab(qtbot):
    tab = LogTab()
    qtbot.addWidget(tab)
    tab.resize(500, 200)
    return tab


def shown(tab):
    return tab.findChild(QPlainTextEdit).toPlainText()


def box(tab, name):
    return next(box for box in tab.findChildren(QCheckBox) if box.text() == name)


def test_shows_what_is_there_and_what_comes(qtbot, tab, buffer):
    tab.follow(buffer, "qwen3-8b")
    tab.show()
    assert shown(tab) == "one\ntwo\nthree"
    buffer.feed(b"four\n")
    qtbot.waitUntil(lambda: shown(tab).endswith("four"), timeout=WAIT_MS)


def test_asks_nothing_while_nobody_looks(qtbot, tab, buffer):
    tab.follow(buffer)
    buffer.feed(b"four\n")
    qtbot.wait(250)
    assert shown(tab) == ""
    tab.show()
    assert shown(tab) == "one\ntwo\nthree\nfour"


def test_stops_asking_when_hidden(qtbot, tab, buffer):
    tab.follow(buffer)
    tab.show()
    tab.hide()
    buffer.feed(b"four\n")
    qtbot.wait(250)
    assert shown(tab) == "one\ntwo\nthree"


def test_stays_where_it_is_once_following_is_off_even_at_the_end(qtbot, tab, buffer):
    tab.follow(buffer)
    tab.show()
    buffer.feed(b"line\n" * 200)
    bar = tab.findChild(QPlainTextEdit).verticalScrollBar()
    qtbot.waitUntil(lambda: bar.value() == bar.maximum() > 0, timeout=WAIT_MS)
    box(tab, "Follow").setChecked(False)
    place = bar.value()
    buffer.feed(b"line\n" * 200)
    qtbot.waitUntil(lambda: bar.maximum() > place, timeout=WAIT_MS)
    assert bar.value() == place


def test_another_log_replaces_the_first_and_the_same_one_does_not_begin_anew(tab, buffer):
    tab.show()
    tab.follow(buffer)
    other = LogBuffer()
    other.feed(b"other\n")
    tab.follow(other)
    assert shown(tab) == "other"
    tab.follow(other)
    assert shown(tab) == "other"
    tab.follow(None)
    assert shown(tab) == ""


def test_is_bounded(tab, buffer):
    tab.show()
    for _ in range(3):
        buffer.feed(b"x\n" * log_view.MAX_LINES)
        tab.follow(buffer)
    tab.hide()
    tab.show()
    assert tab.findChild(QPlainTextEdit).blockCount() <= log_view.MAX_LINES


def test_follows_the_end_until_told_otherwise(qtbot, tab, buffer):
    tab.follow(buffer)
    tab.show()
    buffer.feed(b"line\n" * 200)
    bar = tab.findChild(QPlainTextEdit).verticalScrollBar()
    qtbot.waitUntil(lambda: bar.value() == bar.maximum() > 0, timeout=WAIT_MS)
    bar.triggerAction(bar.SliderAction.SliderToMinimum)
    assert not box(tab, "Follow").isChecked()
    buffer.feed(b"line\n" * 200)
    before = bar.maximum()
    qtbot.waitUntil(lambda: bar.maximum() > before, timeout=WAIT_MS)
    assert bar.value() == 0
    box(tab, "Follow").setChecked(True)
    assert bar.value() == bar.maximum()


def test_finds_forwards_backwards_and_round_the_end(qtbot, tab):
    buffer = LogBuffer()
    buffer.feed(b"error one\nfine\nerror two\n")
    tab.follow(buffer)
    tab.show()
    search, area = tab.findChild(QLineEdit), tab.findChild(QPlainTextEdit)

    def found_line():
        assert area.textCursor().selectedText() == "error"
        return area.textCursor().block().text()

    qtbot.keyClicks(search, "error")
    first = found_line()
    qtbot.keyClick(search, Qt.Key.Key_Return)
    second = found_line()
    qtbot.keyClick(search, Qt.Key.Key_Return)
    assert {first, second} == {"error one", "error two"}
    assert found_line() == first
    qtbot.keyClick(search, Qt.Key.Key_Return, Qt.KeyboardModifier.ShiftModifier)
    assert found_line() == second
    assert not box(tab, "Follow").isChecked()


def test_says_that_nothing_was_found(qtbot, tab, buffer):
    tab.follow(buffer)
    tab.show()
    qtbot.keyClicks(tab.findChild(QLineEdit), "nowhere")
    assert tab.message() == "Not found"


def test_wraps_on_demand(tab):
    area = tab.findChild(QPlainTextEdit)
    assert area.lineWrapMode() is QPlainTextEdit.LineWrapMode.NoWrap
    box(tab, "Wrap").setChecked(True)
    assert area.lineWrapMode() is QPlainTextEdit.LineWrapMode.WidgetWidth


def test_copies_the_selection_or_everything(tab, buffer):
    tab.follow(buffer)
    tab.show()
    tab.copy_all()
    assert QApplication.clipboard().text() == "one\ntwo\nthree"
    area = tab.findChild(QPlainTextEdit)
    area.find("two", log_view.QTextDocument.FindFlag.FindBackward)
    tab.copy_all()
    assert QApplication.clipboard().text() == "two"


def test_saves_what_is_shown_and_says_why_it_could_not(tab, buffer, tmp_path):
    tab.follow(buffer)
    tab.show()
    tab.save_to(tmp_path / "model.log")
    assert (tmp_path / "model.log").read_text() == "one\ntwo\nthree\n"
    assert tab.message() == "Saved"
    tab.save_to(tmp_path / "missing" / "model.log")
    assert tab.message() == "Not saved: No such file or directory"


@pytest.mark.parametrize(
    ("line", "level"),
    [
        ("0.01.234.567 E srv  load_model: failed to load model", LogLevel.ERROR),
        ("0.01.234.567 W load: control token is not marked", LogLevel.WARNING),
        ("0.01.234.567 I srv  update_slots: all slots are idle", LogLevel.INFO),
        ("(APIServer pid=7) ERROR 11-23 20:00:00 [core.py:1] EngineCore failed to start.", LogLevel.ERROR),
        ("WARNING 11-23 20:00:00 [config.py:1] Casting", LogLevel.WARNING),
        ("torch.OutOfMemoryError: CUDA out of memory.", LogLevel.ERROR),
        ("RuntimeError: no kernel image", LogLevel.ERROR),
        ("n_errors = 0, no error so far", LogLevel.INFO),
    ],
)
def test_a_line_has_a_level(line, level):
    assert level_of(line) is level


def test_shows_only_the_lines_of_a_level(tab):
    buffer = LogBuffer()
    buffer.feed(b"WARNING low\nfine\nERROR high\n")
    tab.follow(buffer)
    tab.show()
    choice = tab.findChild(QComboBox)
    choice.setCurrentIndex(choice.findText("Errors"))
    assert shown(tab) == "ERROR high"
    choice.setCurrentIndex(choice.findText("Warnings and errors"))
    assert shown(tab) == "WARNING low\nERROR high"
    choice.setCurrentIndex(choice.findText("All lines"))
    assert shown(tab) == "WARNING low\nfine\nERROR high"


def test_goes_from_error_to_error_and_around(qtbot, tab):
    buffer = LogBuffer()
    buffer.feed(b"ERROR first\nfine\nERROR second\nfine\n")
    tab.follow(buffer)
    tab.show()
    (go,) = [button for button in tab.findChildren(QPushButton) if button.text() == "Next error"]
    found = []
    for _ in range(3):
        qtbot.mouseClick(go, Qt.MouseButton.LeftButton)
        found.append(tab.findChild(QPlainTextEdit).textCursor().selectedText())
    assert found == ["ERROR first", "ERROR second", "ERROR first"]
    assert not box(tab, "Follow").isChecked()


def test_says_where_there_is_no_error(tab, buffer):
    tab.follow(buffer)
    tab.show()
    tab.find_error()
    assert tab.message() == "Not found"
