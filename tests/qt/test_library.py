"""The library: the table, the search, what goes into the form, and the list that grows while it is open."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QPushButton

from launchdeck.ui.deploy.model_combo import ModelList
from launchdeck.ui.kit import i18n
from launchdeck.ui.library.library_dialog import LibraryDialog
from launchdeck.ui.library.library_model import Column, LibraryModel
from qt.form_driver import ONE_GPU

GIB = 1024**3


def column(model, which):
    return [model.index(row, which).data() for row in range(model.rowCount())]


@pytest.fixture
def models(big, small, broken):
    return (big, small, broken, replace(big, path=Path("/x/giant.gguf"), name="giant", size_bytes=900 * GIB))


@pytest.fixture
def dialog(qtbot, models):
    dialog = LibraryDialog()
    qtbot.addWidget(dialog)
    dialog.set_inventory(ONE_GPU)
    dialog.set_models(models)
    dialog.show()
    return dialog


def take_button(dialog):
    return next(button for button in dialog.findChildren(QPushButton) if button.text() == "Use this model")


class TestModel:
    def test_is_a_sound_qt_model_through_its_whole_life(self, qtmodeltester, models):
        model = LibraryModel()
        qtmodeltester.check(model)
        model.set_models(models)
        model.set_inventory(ONE_GPU)
        model.search("qwen")
        model.search("")
        model.sort(Column.SIZE, Qt.SortOrder.DescendingOrder)
        qtmodeltester.check(model)

    def test_the_forms_list_is_a_sound_qt_model(self, qtmodeltester, models):
        model = ModelList()
        model.set_models(models)
        qtmodeltester.check(model)

    def test_sorts_by_every_column(self, models):
        model = LibraryModel()
        model.set_models(models)
        model.set_inventory(ONE_GPU)
        model.sort(Column.NAME)
        assert column(model, Column.NAME) == ["broken", "giant", "qwen3-14b", "tiny"]
        model.sort(Column.SIZE)
        assert column(model, Column.NAME) == ["broken", "tiny", "qwen3-14b", "giant"]
        model.sort(Column.SIZE, Qt.SortOrder.DescendingOrder)
        assert column(model, Column.NAME) == ["giant", "qwen3-14b", "tiny", "broken"]
        model.sort(Column.ARCHITECTURE)
        assert column(model, Column.ARCHITECTURE) == ["—", "llama", "qwen3", "qwen3"]
        model.sort(Column.FITS)
        assert column(model, Column.NAME) == ["qwen3-14b", "tiny", "giant", "broken"]

    def test_tells_what_has_room_and_why_one_is_broken(self, models):
        model = LibraryModel()
        model.set_models(models)
        assert column(model, Column.FITS)[1:] == ["—", "—", "—"]
        model.set_inventory(ONE_GPU)
        told = dict(zip(column(model, Column.NAME), column(model, Column.FITS), strict=True))
        assert told["tiny"] == "✓ On one GPU"
        assert told["giant"] == "▲ Too big"
        assert "is not a GGUF file" in told["broken"]

    def test_the_reason_is_told_in_korean(self, broken):
        i18n.set_language("ko")
        model = LibraryModel()
        model.set_models((broken,))
        (told,) = column(model, Column.FITS)
        assert "GGUF 파일" in told

    @pytest.mark.parametrize(
        ("text", "found"),
        [("QWEN", ["giant", "qwen3-14b"]), ("qwen3 14", ["qwen3-14b"]), ("/x/", ["giant"]), ("nothing", [])],
    )
    def test_searches_all_words_everywhere(self, models, text, found):
        model = LibraryModel()
        model.set_models(models)
        model.search(text)
        assert column(model, Column.NAME) == found

    def test_ten_thousand_models_do_not_block_the_window(self, big):
        many = tuple(replace(big, path=Path(f"/m/{number}.gguf"), name=f"m{number}") for number in range(10_000))
        model = LibraryModel()
        started_s = time.monotonic()
        model.set_models(many)
        model.search("m99")
        model.sort(Column.SIZE)
        assert time.monotonic() - started_s < 2.5
        assert model.rowCount() == 111


class TestDialog:
    def test_the_chosen_model_goes_into_the_form(self, qtbot, dialog, big):
        dialog.search.setText("14b")
        with qtbot.waitSignal(dialog.chosen) as chosen:
            qtbot.mouseClick(take_button(dialog), Qt.MouseButton.LeftButton)
        assert chosen.args == [big.path]
        assert not dialog.isVisible()

    def test_a_broken_one_cannot_be_chosen_and_says_why(self, dialog):
        dialog.search.setText("broken")
        assert not take_button(dialog).isEnabled()
        assert "is not a GGUF file" in dialog.reason.text()
        dialog.chosen.connect(lambda _: pytest.fail("chosen"))
        dialog.table.doubleClicked.emit(dialog.table.currentIndex())

    def test_nothing_found_can_be_chosen(self, dialog):
        dialog.search.setText("tiny")
        assert not dialog.reason.isVisible()
        dialog.search.setText("nothing of this name")
        assert not take_button(dialog).isEnabled()
        assert dialog.current() is None

    def test_the_current_model_stays_current_while_others_come(self, dialog, models, small):
        row = next(r for r in range(4) if dialog.table.model().index(r, Column.NAME).data() == "tiny")
        dialog.table.setCurrentIndex(dialog.table.model().index(row, 0))
        dialog.set_models((replace(small, path=Path("/a.gguf"), name="a"), *models))
        assert dialog.current() == small

    def test_a_folder_can_be_added(self, qtbot, dialog):
        add = next(button for button in dialog.findChildren(QPushButton) if button.text().startswith("Add a folder"))
        with qtbot.waitSignal(dialog.add_folder_requested):
            add.click()


def test_the_form_asks_for_the_library_and_takes_a_model_from_it(qtbot, form, small):
    button = next(b for b in form.findChildren(QPushButton) if b.accessibleName() == "Model library")
    with qtbot.waitSignal(form.library_requested):
        button.click()
    form.choose_model(small.path)
    assert form.request().model_path == small.path
