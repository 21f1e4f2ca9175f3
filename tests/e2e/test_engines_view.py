"""The engines view in the real window: the built-in engine passes its test, and one that is no engine is told."""

from __future__ import annotations

from e2e.window import button, click, in_real_window, quick_settings, until
from launchdeck.ui.engines_dialog import EngineCard, EnginesDialog


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

    in_real_window(journey, quick_settings())


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
