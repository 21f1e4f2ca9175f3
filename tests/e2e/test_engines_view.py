"""The engines view in the real window: engines are tested, got over broken connections, and removed again."""

from __future__ import annotations

import platform
from dataclasses import replace
from pathlib import Path

import pytest
from PySide6.QtWidgets import QMessageBox

from e2e.window import button, click, in_real_window, quick_settings, until
from fakes import llama_server
from fakes.archives import tar_gz
from fakes.hub import FakeHub
from launchdeck.domain.request import ModelLoadRequest
from launchdeck.engines.getting.offers import LLAMA_CPP
from launchdeck.serving.trial import until_running
from launchdeck.ui.engines.engine_offers import OfferRow
from launchdeck.ui.engines.engines_dialog import EngineCard, EnginesDialog


def test_the_built_in_engine_is_tested_with_one_click(demo_model, monkeypatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")

    async def journey(application, core) -> None:
        click(application.panels.form, "Engines of this machine")
        dialog = application.window.findChild(EnginesDialog)
        (card,) = dialog.findChildren(EngineCard)
        click(card, "Test")
        await until(button(card, "Test").isEnabled, "the test to end")
        assert "Paris" in card.result
        assert core.manager.deployments == ()
        assert application.panels.deployments.model().rowCount() == 0

    in_real_window(journey, quick_settings())


def test_a_test_that_fails_leaves_no_row_that_nothing_can_be_done_with(tmp_path) -> None:
    engine = llama_server.install(tmp_path)
    program = tmp_path / "failing" / "llama-server"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\ncase "$*" in *--model*) echo broken >&2; exit 1;; esac\nexec {engine} "$@"\n')
    program.chmod(0o755)

    async def journey(application, core) -> None:
        click(application.panels.form, "Engines of this machine")
        card = application.window.findChild(EnginesDialog).findChildren(EngineCard)[0]
        click(card, "Test")
        rows = application.panels.deployments.model()
        await until(rows.rowCount, "the row of the test")
        await until(button(card, "Test").isEnabled, "the test to end")
        assert card.result.startswith("▲")
        assert (core.manager.deployments, rows.rowCount()) == ((), 0)

    in_real_window(journey, quick_settings(llama_server_path=str(program)))


def test_a_program_that_is_no_engine_is_told(tmp_path) -> None:
    program = tmp_path / "llama-server"
    program.write_text("#!/bin/sh\nexit 1\n")
    program.chmod(0o755)

    async def journey(application, core) -> None:
        click(application.panels.form, "Engines of this machine")
        dialog = application.window.findChild(EnginesDialog)
        dialog.program_chosen.emit("llama_server_path", str(program))
        await until(lambda: str(program) in application.window.notice.text, "the notice")
        assert core.setup.settings.llama_server_path == str(program)

    in_real_window(journey, quick_settings())


@pytest.fixture
def source(engine_bin: Path):
    """Publishes the real llama-server."""
    server = FakeHub()
    name = f"llama-b10605-bin-ubuntu-{'x64' if platform.machine() == 'x86_64' else 'arm64'}.tar.gz"
    program = (engine_bin / "llama-server").read_bytes()
    server.files = {f"{LLAMA_CPP}/{name}": tar_gz({"llama-b10605/llama-server": program})}
    server.releases = {LLAMA_CPP: {"b10605": [name]}}
    yield server
    server.shutdown()
    server.server_close()


def test_an_engine_is_got_tested_used_and_removed(source, demo_model, monkeypatch, launchdeck_home) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    source.breaks = [1_000_000, 500_000]

    async def journey(application, core) -> None:
        click(application.panels.form, "Engines of this machine")
        dialog = application.window.findChild(EnginesDialog)
        click(dialog, "Look for what fits this machine")
        await until(lambda: dialog.findChildren(OfferRow), "the offer")
        (row,) = dialog.findChildren(OfferRow)
        click(row, "Get: llama-server b10605 · CPU")
        await until(lambda: len(core.planner.engines) == 2, "the engine in the list")
        assert len(source.ranges) == 3
        ours = next(card for card in dialog.findChildren(EngineCard) if card.folder and not card.isHidden())
        await until(lambda: "✓" in ours.result, "the test to pass")
        assert "Paris" in ours.result
        await use_and_remove(application, core, dialog, demo_model)
        assert not (launchdeck_home / "data" / "engines" / ours.folder.name).exists()

    in_real_window(journey, replace(quick_settings(), engine_source_url=source.url))


async def use_and_remove(application, core, dialog, demo_model) -> None:
    """While a model runs on it, it stays."""
    engine = core.planner.engines[0]
    deployment = await core.manager.load(ModelLoadRequest(demo_model, n_ctx=512, engine_id=engine.id))
    await until_running(core.manager, deployment.id)
    await remove(dialog)
    card = next(card for card in dialog.findChildren(EngineCard) if card.folder and not card.isHidden())
    await until(lambda: "Stop them first" in card.result, "the refusal")
    await core.manager.stop(deployment.id)
    await remove(dialog)
    await until(lambda: len(core.planner.engines) == 1, "the engine to be gone")


async def remove(dialog) -> None:
    card = next(card for card in dialog.findChildren(EngineCard) if card.folder and not card.isHidden())
    click(
        card, next(b.accessibleName() for b in card.findChildren(type(button(dialog, "Close"))) if b.text() == "Remove")
    )
    await until(lambda: [b for b in card.findChildren(QMessageBox) if b.isVisible()], "the question")
    click(next(b for b in card.findChildren(QMessageBox) if b.isVisible()), "Remove")


def test_quitting_gives_up_what_is_being_got_and_keeps_the_part(source, launchdeck_home) -> None:
    source.breaks = [1_000_000] + [0] * 6

    async def journey(application, core) -> None:
        click(application.panels.form, "Engines of this machine")
        dialog = application.window.findChild(EnginesDialog)
        click(dialog, "Look for what fits this machine")
        await until(lambda: dialog.findChildren(OfferRow), "the offer")
        click(dialog.findChildren(OfferRow)[0], "Get: llama-server b10605 · CPU")
        await until(lambda: len(source.ranges) > 1, "the first break")
        dialog.close()
        await until(lambda: len(source.ranges) > 2, "another try behind the closed view")

    in_real_window(journey, replace(quick_settings(), engine_source_url=source.url))
    assert list((launchdeck_home / "data" / "engines").rglob("*.part"))
