"""Each setting says when it takes effect, and those that say "at once" do: in the window, and on models that run."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import replace

import pytest
from PySide6.QtWidgets import QComboBox, QLabel

from e2e.window import current, in_real_window, quick_settings, until
from fakes import llama_server, samples
from fakes.serving import free_ports
from launchdeck.domain.deployment import State
from launchdeck.domain.errors import Cause
from launchdeck.domain.gpu import GpuType
from launchdeck.domain.request import CPU_ONLY, ModelLoadRequest
from launchdeck.hardware.opening import open_source
from launchdeck.settings.schema import Effect, Settings
from launchdeck.ui.engines.engine_getting import EngineGetting
from launchdeck.ui.kit import theme
from launchdeck.ui.window.quitting import Quitting

pytestmark = [pytest.mark.timeout(300), pytest.mark.usefixtures("qapp")]

IN_THE_WINDOW = frozenset({
    "theme", "sampling_interval_s", "detection", "model_folders", "rpc_workers", "engine_source_url",
    "package_index_url", "on_quit", "vram_alert_percent", "temperature_alert_c", "api_enabled", "api_port",
})  # fmt: skip
ON_MODELS = frozenset({
    "stop_grace_s", "stall_timeout_s", "load_timeout_s", "restart", "restart_pause_s", "probe_interval_s",
    "question_interval_s", "when_app_dies",
})  # fmt: skip


def test_each_setting_says_when_it_takes_effect() -> None:
    effects = {field.name: field.metadata["effect"] for field in dataclasses.fields(Settings)}
    assert all(isinstance(effect, Effect) for effect in effects.values())
    assert {name for name, effect in effects.items() if effect is Effect.AT_ONCE} == IN_THE_WINDOW | ON_MODELS


def change(application, **changes) -> None:
    application.controller._save(replace(application.core.setup.settings, **changes))


def shows(widget, text: str) -> bool:
    return any(text in label.text() for label in widget.findChildren(QLabel))


def test_what_the_window_does_at_once(demo_model, tmp_path, monkeypatch) -> None:
    (tmp_path / "another.gguf").write_bytes(demo_model.read_bytes())
    opened = []

    async def journey(application, core) -> None:
        monkeypatch.setattr(
            "launchdeck.core.open_source", lambda how, file: opened.append(how) or open_source(how, file)
        )
        window, form = application.window, application.panels.form
        change(application, theme="light")
        assert theme.tokens() is theme.LIGHT
        change(application, sampling_interval_s=3.0)
        assert shows(application.panels.cards, "every 3 s")
        assert opened == []
        change(application, detection="first")
        await until(lambda: opened == ["first"], "the devices, looked for the other way")
        change(application, model_folders=(str(tmp_path),))
        await until(lambda: any(m.name == "another" for m in application.discovery.models), "the folder's model")
        change(application, rpc_workers=("127.0.0.1:9",))
        (devices,) = (combo for combo in form.findChildren(QComboBox) if combo.accessibleName() == "GPU")
        await until(lambda: devices.findText("RPC 127.0.0.1:9") >= 0, "the worker")
        await ask_engines(application, core, monkeypatch)
        change(application, on_quit="stop")
        decided = []
        quitting = Quitting(window, core.setup.store)
        quitting.decided.connect(decided.append)
        quitting.ask(2)
        assert decided == [False]
        warn(application)
        port = free_ports(1).start
        change(application, api_port=port)
        await until(lambda: f":{port}" in window.status_line.api.text(), "the interface, elsewhere")
        change(application, api_enabled=False)
        await until(lambda: "off" in window.status_line.api.text(), "no interface")

    in_real_window(journey, quick_settings(vram_alert_percent=0, temperature_alert_c=0))


async def ask_engines(application, core, monkeypatch) -> None:
    """Where they are got from, and with which index, is asked when it is wanted."""
    getting = EngineGetting(core.setup, lambda: (), application.window)
    change(application, engine_source_url="http://127.0.0.1:9/mirror")
    assert getting.source == "http://127.0.0.1:9/mirror"
    asked = []

    async def find(_gpus, settings):
        asked.append(settings.package_index_url)
        return ()

    monkeypatch.setattr("launchdeck.ui.engines.engine_getting.find_offers", find)
    change(application, package_index_url="http://127.0.0.1:9/simple")
    getting.look()
    await until(lambda: asked == ["http://127.0.0.1:9/simple"], "the search")


def warn(application) -> None:
    """The next reading is judged by what the settings say then."""
    full = samples.gpu(0, "RTX 4090", GpuType.NVIDIA, 24, 23.5)
    hot = replace(full, sample=replace(full.sample, temperature_c=80))
    application.window.notice.hide()
    application.controller._warn(samples.inventory(hot))
    assert application.window.notice.isHidden()
    for changes in ({"vram_alert_percent": 90}, {"temperature_alert_c": 70}):
        change(application, **changes)
        application.controller._warn(samples.inventory(hot))
        assert not application.window.notice.isHidden(), changes
        application.window.notice.hide()


def model_with(tmp_path, demo_model, name: str, *switches: str):
    model = tmp_path / f"{name}.gguf"
    model.write_bytes(demo_model.read_bytes())
    model.with_name(f"{name}.gguf.switches").write_text(json.dumps(switches))
    return ModelLoadRequest(model, gpu_uuids=CPU_ONLY, n_ctx=512)


async def load(core, request) -> str:
    return (await core.manager.load(request)).id


async def reaches(core, key: str, state: State) -> None:
    await until(lambda: current(core, key).state is state, f"{current(core, key).plan.model_id}: {state}")


def test_what_models_that_run_feel_at_once(demo_model, tmp_path) -> None:
    engine = llama_server.install(tmp_path)
    patient = {"stall_timeout_s": 7200.0, "load_timeout_s": 86400.0, "stop_grace_s": 300.0, "restart_pause_s": 60.0}
    mute = tmp_path / "mute"

    async def journey(application, core) -> None:
        silent = await load(core, model_with(tmp_path, demo_model, "silent", "--silent", "--load-s", "600"))
        await reaches(core, silent, State.LOADING)
        change(application, stall_timeout_s=1.0)
        await reaches(core, silent, State.FAILED)
        assert current(core, silent).failure.cause is Cause.STALLED
        change(application, stall_timeout_s=7200.0)
        slow = await load(core, model_with(tmp_path, demo_model, "slow", "--chatter", "--load-s", "600"))
        await reaches(core, slow, State.LOADING)
        change(application, load_timeout_s=1.0)
        await reaches(core, slow, State.FAILED)
        change(application, load_timeout_s=86400.0)
        await watch_running(application, core)

    async def watch_running(application, core) -> None:
        change(application, probe_interval_s=2.0)
        deaf = await load(core, model_with(tmp_path, demo_model, "deaf", "--deaf-after", "60"))
        await reaches(core, deaf, State.RUNNING)
        change(application, probe_interval_s=0.2)
        await reaches(core, deaf, State.UNRESPONSIVE)  # with the usual pauses two minutes from now
        asked = await load(core, model_with(tmp_path, demo_model, "asked", "--mute-file", str(mute)))
        await reaches(core, asked, State.RUNNING)
        mute.touch()
        change(application, question_interval_s=0.2)
        await reaches(core, asked, State.UNRESPONSIVE)
        stubborn = await load(core, model_with(tmp_path, demo_model, "stubborn", "--ignore-term"))
        await reaches(core, stubborn, State.RUNNING)
        change(application, when_app_dies="stop")
        await until(lambda: core.manager._find(stubborn)._policy == "stop", "its supervisor to know")
        change(application, stop_grace_s=0.2)
        for key in (stubborn, asked, deaf):
            await core.manager.stop(key)
        await restart(application, core)

    async def restart(application, core) -> None:
        dying = await load(core, model_with(tmp_path, demo_model, "dying", "--exit-code", "3", "--die-after-s", "2"))
        change(application, restart="on failure", restart_pause_s=0.2)
        await until(lambda: current(core, dying).restart is not None, "another try")
        change(application, restart="never")

    in_real_window(journey, quick_settings(llama_server_path=str(engine), **patient))
