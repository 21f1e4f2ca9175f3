"""A launch that does not fit, in the real window: asked about once, with numbers, and started if the user says so."""

from __future__ import annotations

import pytest
from PySide6.QtWidgets import QPushButton

from e2e.window import click, in_real_window, quick_settings, until
from fakes import gguf_models, llama_server
from launchdeck.domain.deployment import State
from launchdeck.domain.request import CPU_ONLY, ModelLoadRequest
from launchdeck.engines.llama.checks import MAX_SLOTS
from launchdeck.ui.deploy.anyway_dialog import AnywayDialog

pytestmark = [pytest.mark.timeout(300), pytest.mark.usefixtures("qapp")]
CONTEXT = 40960
SHAPE = {"n_layer": 40, "n_embd": 5120, "n_head": 40, "n_head_kv": 8, "n_ff": 17408, "head_dim": 128}


def question(application) -> AnywayDialog | None:
    return next((each for each in application.window.findChildren(AnywayDialog) if each.isVisible()), None)


def named(form, name: str) -> list[QPushButton]:
    return [each for each in form.findChildren(QPushButton) if each.accessibleName() == name and each.isEnabled()]


async def ask(application) -> AnywayDialog:
    form = application.panels.form
    await until(lambda: named(form, "Deploy anyway"), "the button that says so")
    click(form, "Deploy anyway")
    await until(lambda: question(application), "the question")
    return question(application)


def test_what_does_not_fit_is_asked_about_once_and_then_started(demo_model, tmp_path) -> None:
    """Of 14B, without data; with all slots at their full length its cache would take more than 1,500 GiB."""
    file = gguf_models.llama(architecture="qwen3", n_vocab=151936, n_ctx=CONTEXT, quant="q4_k", head_norm=True, **SHAPE)
    large = file.write(tmp_path / "large.gguf")

    async def journey(application, core) -> None:
        form = application.panels.form
        await until(lambda: len(application.discovery.models) > 1, "the models in the form")
        too_much = ModelLoadRequest(large, gpu_uuids=CPU_ONLY, n_ctx=CONTEXT * MAX_SLOTS, n_parallel=MAX_SLOTS)
        form.show_request(too_much)
        asked = await ask(application)
        assert "GiB of RAM" in asked.text()
        assert core.manager.deployments == ()
        click(asked, "Cancel")
        await until(lambda: question(application) is None, "the question to go")
        assert core.manager.deployments == ()
        click(await ask(application), "Deploy anyway")
        await until(lambda: [d for d in core.manager.deployments if d.state is State.RUNNING], "the model")
        assert question(application) is None
        await core.manager.stop(core.manager.deployments[0].id)  # what it was promised is free again
        form.show_request(ModelLoadRequest(demo_model, gpu_uuids=CPU_ONLY, n_ctx=512))
        await until(lambda: named(form, "Deploy"), "the usual button")
        click(form, "Deploy")
        await until(lambda: len(core.manager.deployments) == 2, "one that fits, without a question")

    engine = str(llama_server.install(tmp_path))
    in_real_window(journey, quick_settings(llama_server_path=engine, model_folders=(str(tmp_path),)))
