"""The library in the real window: a model that is copied into a folder shows up, and goes from there into the form."""

from __future__ import annotations

from PySide6.QtWidgets import QLineEdit

from e2e.window import click, in_real_window, quick_settings, until
from fakes.gguf_models import llama
from launchdeck.ui.library.library_dialog import LibraryDialog


def test_a_model_that_comes_is_listed_and_can_be_taken_into_the_form(tmp_path) -> None:
    folder = tmp_path / "models"
    folder.mkdir()

    async def journey(application, core) -> None:
        click(application.panels.form, "Model library")
        dialog = application.window.findChild(LibraryDialog)
        path = llama().write(folder / "newcomer.gguf")
        dialog.findChild(QLineEdit).setText("newcomer")
        await until(lambda: dialog.current() is not None, "the new model in the library", deadline_s=20)
        click(dialog, "Use this model")
        assert application.panels.form.request().model_path == path
        path.unlink()
        await until(lambda: all(m.path != path for m in application.discovery.models), "it to go", deadline_s=20)

    in_real_window(journey, quick_settings(model_folders=(str(folder),)))
