"""A model from the hub into the form, in the real window: found, downloaded over broken connections, paused, listed."""

from __future__ import annotations

import socket
import time

import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest

from e2e.window import button, click, in_real_window, quick_settings, until
from fakes.gguf_models import llama
from fakes.hub import FakeHub
from launchdeck.models import hub_access
from launchdeck.ui.library.download_dialog import DownloadDialog
from launchdeck.ui.library.library_dialog import LibraryDialog

NAME = "tiny-q4.gguf"
REPOSITORY = "them/Tiny-GGUF"


@pytest.fixture
def server(monkeypatch, tmp_path, plain_network):
    server = FakeHub()
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    monkeypatch.setattr(hub_access, "_refused", set())
    content = llama().write(tmp_path / "m.gguf").read_bytes()
    server.files = {f"{REPOSITORY}/{NAME}": content + bytes(8 * 1024 * 1024)}
    yield server
    server.shutdown()
    server.server_close()


def search(application, text: str) -> DownloadDialog:
    click(application.panels.form, "Model library")
    click(application.window.findChild(LibraryDialog), "Download …")
    dialog = application.window.findChild(DownloadDialog)
    dialog.search.setText(text)
    QTest.keyClick(dialog.search, Qt.Key.Key_Return)
    return dialog


async def open_downloads(application) -> DownloadDialog:
    dialog = search(application, "tiny")
    await until(lambda: dialog.repositories.count() == 1, "the repository")
    dialog.repositories.setCurrentRow(0)
    await until(lambda: dialog.files.count() == 1, "the file")
    dialog.files.setCurrentRow(0)
    return dialog


def test_a_model_is_downloaded_and_listed(server) -> None:
    server.breaks = [100_000, 3_000_000, 50_000]

    async def journey(application, core) -> None:
        dialog = await open_downloads(application)
        assert NAME in dialog.files.item(0).text()
        assert "GiB" in dialog.files.item(0).text()
        click(dialog, "Download")
        await until(lambda: "was checked" in dialog.note.text(), "the download")
        assert len(server.ranges) == 4
        await until(
            lambda: "tiny-q4" in {model.name for model in application.discovery.models}, "the model in the list"
        )

    in_real_window(journey, quick_settings())


def test_a_download_is_paused_and_goes_on(server, launchdeck_home) -> None:
    server.breaks = [1_000_000] + [0] * 4

    async def journey(application, core) -> None:
        dialog = await open_downloads(application)
        click(dialog, "Download")
        await until(lambda: list(launchdeck_home.rglob("*.part")) and len(server.ranges) > 1, "a part of it")
        click(dialog, "Pause")
        assert button(dialog, "Go on").isEnabled()
        server.breaks.clear()
        click(dialog, "Go on")
        await until(lambda: "was checked" in dialog.note.text(), "the rest")
        assert server.ranges[-1] > 0

    in_real_window(journey, quick_settings())


def test_a_download_goes_on_when_its_dialog_is_closed(server) -> None:
    server.breaks = [1_000_000] + [0] * 4

    async def journey(application, core) -> None:
        dialog = await open_downloads(application)
        click(dialog, "Download")
        shown = application.window.status_line.download
        await until(lambda: shown.isVisible() and NAME in shown.text(), "the download in the status line")
        dialog.close()
        await until(lambda: len(server.ranges) > 1, "that it goes on")
        assert shown.isVisible()
        shown.click()
        assert dialog.isVisible()
        assert button(dialog, "Pause").isEnabled()
        dialog.close()
        server.breaks.clear()
        await until(lambda: "was checked" in application.window.notice.text, "the word that it is there")
        assert not shown.isVisible()

    in_real_window(journey, quick_settings())


def test_a_download_is_paused_when_the_application_ends(server, launchdeck_home) -> None:
    server.breaks = [1_000_000] + [0] * 4

    async def journey(application, core) -> None:
        dialog = await open_downloads(application)
        click(dialog, "Download")
        await until(lambda: list(launchdeck_home.rglob("*.part")) and len(server.ranges) > 1, "a part of it")
        dialog.close()

    in_real_window(journey, quick_settings())
    assert list(launchdeck_home.rglob("*.part")), "what has come is kept"


def test_a_file_without_a_checksum_is_not_said_to_be_checked(server) -> None:
    server.lists_checksums = False

    async def journey(application, core) -> None:
        dialog = await open_downloads(application)
        click(dialog, "Download")
        await until(lambda: "is there" in dialog.note.text(), "the download")
        assert "checked by its size alone: the hub tells no SHA-256" in dialog.note.text()

    in_real_window(journey, quick_settings())


def test_a_token_that_is_not_valid_is_told_beside_what_was_found(server, monkeypatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_expired")
    server.answers = [(401, {"X-Error-Message": "Invalid credentials in Authorization header"}, b"{}")]

    async def journey(application, core) -> None:
        dialog = search(application, "tiny")
        await until(lambda: dialog.repositories.count() == 1, "the repository")
        assert "The token of HF_TOKEN is not valid: the hub was asked without it." in dialog.note.text()

    in_real_window(journey, quick_settings())


def test_a_hub_that_keeps_silent_holds_up_neither_the_window_nor_its_end(server, monkeypatch) -> None:
    ends: list[float] = []

    async def journey(application, core) -> None:
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")
        dialog = search(application, "tiny")
        await until(lambda: "has not answered yet" in dialog.note.text(), "the word that it takes its time")
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        QTest.keyClick(dialog.search, Qt.Key.Key_Return)
        await until(lambda: dialog.repositories.count() == 1, "what the second search found")
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")
        QTest.keyClick(dialog.search, Qt.Key.Key_Return)
        await until(lambda: "Searching" in dialog.note.text(), "the third search")
        ends.append(time.monotonic())

    with socket.create_server(("127.0.0.1", 0)) as silent:
        in_real_window(journey, quick_settings())
        assert time.monotonic() - ends[0] < 10


def test_a_repository_without_models_says_so(server) -> None:
    server.files = {f"{REPOSITORY}/README.md": b"nothing"}

    async def journey(application, core) -> None:
        dialog = search(application, "tiny")
        await until(lambda: dialog.repositories.count() == 1, "the repository")
        dialog.repositories.setCurrentRow(0)
        await until(lambda: "no model in GGUF" in dialog.note.text(), "the sentence")
        assert not button(dialog, "Download").isEnabled()

    in_real_window(journey, quick_settings())
