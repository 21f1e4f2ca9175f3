"""The window and programs at the same time: one manager, one planner for both."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from PySide6.QtGui import QGuiApplication

from e2e.window import assert_gone, button, current, in_real_window, quick_settings, until
from launchdeck.core import Core
from launchdeck.domain.deployment import State
from launchdeck.domain.plan import EngineKind
from launchdeck.domain.request import CPU_ONLY, ModelLoadRequest
from launchdeck.settings.paths import Paths
from launchdeck.ui.application import WindowApplication

pytestmark = [pytest.mark.timeout(300), pytest.mark.usefixtures("qapp")]
EMBEDDED = str(EngineKind.EMBEDDED)


@contextlib.asynccontextmanager
async def client() -> AsyncIterator[httpx.AsyncClient]:
    """As any program finds the application: by its two files."""
    runtime = Paths.resolve().runtime
    await until((runtime / "api-url").exists, "the address")
    url, token = (runtime / "api-url").read_text(), (runtime / "api-token").read_text()
    async with httpx.AsyncClient(base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=60) as http:
        yield http


async def load(http: httpx.AsyncClient, model: Path, **changes: Any) -> dict[str, Any]:
    body = {"model_path": str(model), "gpu_indices": [], "n_ctx": 1024, "engine_id": EMBEDDED} | changes
    answer = await http.post("/api/inference/load", json=body)
    assert answer.status_code == 202, answer.text
    return dict(answer.json())


async def until_running(http: httpx.AsyncClient, model_id: str) -> dict[str, Any]:
    async with asyncio.timeout(60):
        while True:
            entries = (await http.get("/api/inference/loading-status")).json()["models"]
            entry = next(entry for entry in entries if entry["model_id"] == model_id)
            assert entry["state"] != "failed", entry["error"]
            if entry["state"] == "running":
                return dict(entry)
            await asyncio.sleep(0.05)


def rows(application: WindowApplication) -> list[str]:
    """What the table shows."""
    shown = application.panels.deployments.model()
    return [str(shown.index(row, 0).data()) for row in range(shown.rowCount())]


def test_a_load_over_http_is_in_the_table_and_a_stop_in_the_window_in_the_stream(demo_model: Path) -> None:
    async def journey(application: WindowApplication, core: Core) -> None:
        async with client() as http, http.stream("GET", "/api/events") as news:
            started = await load(http, demo_model, model_id="over-http")
            await until(lambda: rows(application) == ["over-http"], "the row")
            entry = await until_running(http, "over-http")
            assert (entry["n_gpu_layers"], entry["context_length"], entry["applied"]["n_ctx"]) == (0, 1024, 1024)
            running = current(core, started["id"])
            application.panels.deployments.stop_requested.emit(started["id"])
            states = []
            async with asyncio.timeout(60):
                async for line in news.aiter_lines():
                    if line.startswith("data: "):
                        states.append(json.loads(line[6:])["state"])
                        if states[-1] == "stopped":
                            break
            assert states == ["starting", "loading", "running", "stopping", "stopped"]
            assert_gone(running)

    in_real_window(journey, quick_settings())


def test_a_deployment_of_the_window_is_seen_and_stopped_over_http(demo_model: Path) -> None:
    async def journey(application: WindowApplication, core: Core) -> None:
        async with client() as http:
            request = ModelLoadRequest(model_path=demo_model, gpu_uuids=CPU_ONLY, n_ctx=512, engine_id=EMBEDDED)
            application.panels.form.deploy_requested.emit(request)
            await until(lambda: core.manager.deployments, "the deployment")
            (deployment,) = core.manager.deployments
            entry = await until_running(http, deployment.plan.model_id)
            assert entry["api_key"] == core.manager.api_key(deployment.id)
            running = current(core, deployment.id)
            unloaded = await http.post("/api/inference/unload", json={"model_id": entry["model_id"]})
            assert unloaded.status_code == 200
            assert core.manager.find(deployment.id) is None
            assert rows(application) == []
            assert_gone(running)

    in_real_window(journey, quick_settings())


def test_a_model_that_failed_leaves_the_table_when_it_is_unloaded_over_http(demo_model: Path) -> None:
    async def journey(application: WindowApplication, core: Core) -> None:
        async with client() as http:
            started = await load(http, demo_model, model_id="killed")
            await until_running(http, "killed")
            os.kill(current(core, started["id"]).pids[0], signal.SIGKILL)
            await until(lambda: current(core, started["id"]).state is State.FAILED, "the failure")
            (entry,) = (await http.get("/api/inference/loading-status")).json()["models"]
            assert (entry["status"], entry["error"]["cause"]) == ("failed", "crashed")
            assert rows(application) == ["killed"]
            await http.post("/api/inference/unload", json={"model_id": "killed"})
            assert rows(application) == []

    in_real_window(journey, quick_settings())


def test_the_official_client_talks_to_a_language_model_and_an_embedding_model(demo_model: Path) -> None:
    async def journey(_application: WindowApplication, _core: Core) -> None:
        async with client() as http:
            await load(http, demo_model, model_id="chat")
            await load(http, demo_model, model_id="vectors", server_type="embedding", n_ctx=512)
            chat, vectors = await until_running(http, "chat"), await until_running(http, "vectors")
        async with openai.AsyncOpenAI(base_url=chat["url"], api_key=chat["api_key"]) as program:
            stream = await program.chat.completions.create(
                model="chat", messages=[{"role": "user", "content": "Say hello."}], max_tokens=8, stream=True
            )
            pieces = [chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices]
            assert "".join(pieces).strip()
            assert len(pieces) > 2
        async with openai.AsyncOpenAI(base_url=vectors["url"], api_key=vectors["api_key"]) as program:
            answer = await program.embeddings.create(model="vectors", input=["a cat", "an airport"])
            assert [len(item.embedding) for item in answer.data] == [576, 576]
        async with openai.AsyncOpenAI(base_url=chat["url"], api_key="wrong", max_retries=0) as stranger:
            with pytest.raises(openai.AuthenticationError):
                await stranger.completions.create(model="chat", prompt="x")

    in_real_window(journey, quick_settings())


def test_the_address_is_in_the_window_to_be_copied() -> None:
    async def journey(application: WindowApplication, _core: Core) -> None:
        async with client() as http:
            url = str(http.base_url).rstrip("/")
            api_button = application.window.status_line.api
            await until(lambda: url in api_button.text(), "the address")
            copied = []
            for action in api_button.menu().actions():
                action.trigger()
                copied.append(QGuiApplication.clipboard().text())
            token = (Paths.resolve().runtime / "api-token").read_text()
            assert copied[:2] == [url, token]
            assert token not in api_button.text() + api_button.toolTip()
            curl = await asyncio.create_subprocess_shell(copied[2] + " --silent", stdout=asyncio.subprocess.PIPE)
            output, _ = await curl.communicate()
            assert json.loads(output)["gpus"]

    in_real_window(journey, quick_settings())


def test_a_taken_port_is_told_and_the_window_works_on(demo_model: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]

        async def journey(application: WindowApplication, core: Core) -> None:
            await until(lambda: f"port {port}" in application.window.notice.text, "the sentence")
            assert application.window.status_line.api.text() == "API off"
            await until(lambda: application.panels.form.request() is not None, "the form")
            assert button(application.panels.form, "Deploy").isEnabled()
            settings = core.setup.settings
            application.controller._save(quick_settings(first_port=settings.first_port, last_port=settings.last_port))
            async with client() as http:
                assert (await http.get("/ping")).status_code == 204

        in_real_window(journey, quick_settings(api_port=port))


def test_it_can_be_switched_off() -> None:
    async def journey(application: WindowApplication, _core: Core) -> None:
        await until(lambda: application.window.status_line.api.text() == "API off", "off")
        assert not (Paths.resolve().runtime / "api-url").exists()

    in_real_window(journey, quick_settings(api_enabled=False))
