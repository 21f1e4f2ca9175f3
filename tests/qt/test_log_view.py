from __future__ import annotations

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QApplication, QCheckBox, QLineEdit, QPlainTextEdit

from launchdeck.serving.logs import LogBuffer
from launchdeck.ui import i18n, log_view
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
