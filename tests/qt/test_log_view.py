from __future__ import annotations

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QApplication, QCheckBox, QComboBox, QLineEdit, QPlainTextEdit, QPushButton

from launchdeck.serving.logs import LogBuffer
from launchdeck.ui.deployments import log_text
from launchdeck.ui.deployments.log_levels import LogLevel, level_of
from launchdeck.ui.deployments.log_view import LogTab
from launchdeck.ui.kit import i18n
from launchdeck.ui.kit.theme import tokens

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


def test_is_bounded_in_lines_and_in_characters(qtbot, tab, buffer):
    area = tab.findChild(QPlainTextEdit)
    tab.follow(buffer)
    tab.show()
    for end in ("end 1", "end 2", "end 3"):
        buffer.feed(b"x\n" * (log_text.MAX_LINES // 2) + f"{end}\n".encode())
        qtbot.waitUntil(lambda end=end: area.document().lastBlock().text() == end, timeout=WAIT_MS)
        assert area.blockCount() <= log_text.MAX_LINES
    assert area.blockCount() == log_text.MAX_LINES
    buffer.feed((b"y" * 4000 + b"\n") * 2500 + b"last\n")
    qtbot.waitUntil(lambda: area.document().lastBlock().text() == "last", timeout=5 * WAIT_MS)
    assert area.document().characterCount() <= log_text.MAX_CHARACTERS


def test_what_is_read_stays_in_sight_while_old_lines_go(qtbot, tab):
    buffer = LogBuffer()
    buffer.feed("".join(f"line {number}\n" for number in range(log_text.MAX_LINES)).encode())
    area = tab.findChild(QPlainTextEdit)
    tab.follow(buffer)
    tab.show()
    qtbot.waitUntil(lambda: area.blockCount() == log_text.MAX_LINES, timeout=WAIT_MS)
    box(tab, "Follow").setChecked(False)
    area.verticalScrollBar().setValue(5000)
    assert area.firstVisibleBlock().text() == "line 5000"
    buffer.feed(b"more\n" * 300)
    qtbot.waitUntil(lambda: area.document().firstBlock().text() == "line 300", timeout=WAIT_MS)
    assert area.firstVisibleBlock().text() == "line 5000"


def test_a_line_that_has_not_ended_is_shown_as_far_as_it_goes(qtbot, tab, buffer):
    tab.follow(buffer)
    tab.show()
    buffer.feed(b" 10 %")
    qtbot.waitUntil(lambda: shown(tab) == "one\ntwo\nthree\n 10 %", timeout=WAIT_MS)
    buffer.feed(b"\r 20 %")
    qtbot.waitUntil(lambda: shown(tab) == "one\ntwo\nthree\n 20 %", timeout=WAIT_MS)
    buffer.feed(b"\ndone\n")
    qtbot.waitUntil(lambda: shown(tab) == "one\ntwo\nthree\n 20 %\ndone", timeout=WAIT_MS)


def colours(tab):
    """The text of every coloured place, with its colour."""
    return [
        (mark.cursor.selectedText(), (mark.format.foreground() if plain else mark.format.background()).color().name())
        for mark in tab.findChild(QPlainTextEdit).extraSelections()
        for plain in [mark.format.background().style() == Qt.BrushStyle.NoBrush]
    ]


def test_warnings_errors_and_what_is_searched_for_have_colours(qtbot, tab):
    buffer = LogBuffer()
    buffer.feed("fine 🚀 Fine\nWARNING low\nERROR high\n".encode())
    tab.follow(buffer)
    tab.show()
    bad, warn = tokens().bad, tokens().warn
    qtbot.waitUntil(lambda: colours(tab) == [("WARNING low", warn), ("ERROR high", bad)], timeout=WAIT_MS)
    qtbot.keyClicks(tab.findChild(QLineEdit), "fine")
    qtbot.waitUntil(lambda: colours(tab)[:2] == [("fine", warn), ("Fine", warn)], timeout=WAIT_MS)


def test_says_which_of_how_many_matches_is_shown(qtbot, tab):
    buffer = LogBuffer()
    buffer.feed(b"Error one\nfine\nerror two\n")
    tab.follow(buffer)
    tab.show()
    search = tab.findChild(QLineEdit)
    qtbot.keyClicks(search, "error")
    assert tab.message() == "1 of 2"
    qtbot.keyClick(search, Qt.Key.Key_Return)
    assert tab.message() == "2 of 2"
    qtbot.keyClick(search, Qt.Key.Key_Return)
    assert tab.message() == "1 of 2"


@pytest.mark.parametrize(
    ("evidence", "selected"),
    [(("first words", "ERROR it broke"), "ERROR it broke"), (("first words", "last words"), "last words")],
)
def test_goes_to_where_a_failure_is_told(qtbot, tab, evidence, selected):
    buffer = LogBuffer()
    buffer.feed(b"ERROR older\n" + b"line\n" * 2000 + b"first words\n  ERROR it broke\nlast words\n" + b"line\n" * 2000)
    tab.follow(buffer)
    tab.show_failure(evidence)
    tab.show()
    area = tab.findChild(QPlainTextEdit)
    qtbot.waitUntil(lambda: area.textCursor().selectedText().strip() == selected, timeout=WAIT_MS)
    assert not box(tab, "Follow").isChecked()


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
    area.find("two", log_text.QTextDocument.FindFlag.FindBackward)
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


def test_where_a_failure_is_told_the_beginning_of_the_line_is_in_sight(qtbot, tab):
    buffer = LogBuffer()
    buffer.feed(b"ERROR " + b"x" * 500 + b"\n")
    tab.follow(buffer)
    tab.show()
    tab.find_error()
    area = tab.findChild(QPlainTextEdit)
    assert area.textCursor().selectedText().startswith("ERROR")
    assert area.horizontalScrollBar().value() == 0


def test_where_it_is_narrow_the_tools_have_a_line_of_their_own(qtbot, tab):
    tab.setMinimumSize(1, 1)  # the window gives a tab as much room as it has
    tab.resize(400, 200)
    tab.show()
    search = tab.findChild(QLineEdit)

    def is_below():
        return box(tab, "Follow").y() > search.y() + search.height()

    qtbot.waitUntil(is_below, timeout=WAIT_MS)
    tab.resize(900, 200)
    qtbot.waitUntil(lambda: not is_below(), timeout=WAIT_MS)
