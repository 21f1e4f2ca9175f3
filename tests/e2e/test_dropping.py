"""Model files and folders dropped on the real window."""

from __future__ import annotations

from pathlib import Path

import pytest
from PySide6.QtCore import QMimeData, QPoint, Qt, QUrl
from PySide6.QtGui import QDragEnterEvent, QDropEvent
from PySide6.QtWidgets import QApplication

from e2e.window import in_real_window, quick_settings, until
from fakes import gguf_models
from launchdeck.core import Core
from launchdeck.ui.application import WindowApplication
from launchdeck.ui.window.main_window import MainWindow

pytestmark = [pytest.mark.timeout(300), pytest.mark.usefixtures("qapp")]


def drop(window: MainWindow, path: Path) -> None:
    """As a file manager does it."""
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(path))])
    point, copy, left, none = QPoint(300, 300), Qt.DropAction.CopyAction, Qt.MouseButton.LeftButton, Qt.KeyboardModifier
    enter = QDragEnterEvent(point, copy, data, left, none.NoModifier)
    QApplication.sendEvent(window, enter)
    assert enter.isAccepted()
    QApplication.sendEvent(window, QDropEvent(point.toPointF(), copy, data, left, none.NoModifier))


def test_what_is_dropped_is_found_chosen_or_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "somewhere").mkdir()
    (tmp_path / "folder" / "inner").mkdir(parents=True)
    file = gguf_models.llama().write(tmp_path / "somewhere" / "dropped.gguf")
    other = gguf_models.llama().write(tmp_path / "folder" / "inner" / "other.gguf")
    text = tmp_path / "notes.txt"
    text.write_text("no model", encoding="utf-8")

    async def journey(application: WindowApplication, core: Core) -> None:
        form, notice = application.panels.form, application.window.notice
        await until(lambda: form.request() is not None, "the demo model")
        drop(application.window, file)
        await until(lambda: (request := form.request()) and request.model_path == file, "the dropped model")
        drop(application.window, other.parent.parent)
        await until(lambda: other in {model.path for model in application.discovery.models}, "the folder's model")
        request = form.request()
        assert request is not None
        assert request.model_path == file, "a folder is searched, and what was chosen stays"
        drop(application.window, text)
        await until(lambda: "notes.txt is no model." in notice.text, "the refusal")

    in_real_window(journey, quick_settings())
