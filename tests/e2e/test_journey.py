"""The main job, through the real window with real engines and the real demo model."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from PySide6.QtWidgets import QLabel

from e2e.window import (
    assert_gone,
    button,
    click,
    current,
    deploy,
    in_real_window,
    quick_settings,
    text_field,
    type_and_send,
    until,
)
from fakes import llama_server
from fakes.recorded import RECORDED, lines_of
from fakes.serving import free_ports
from launchdeck.core import Core
from launchdeck.domain.deployment import Deployment, State
from launchdeck.domain.model import ServerType
from launchdeck.domain.plan import EngineKind
from launchdeck.domain.request import CPU_ONLY, ModelLoadRequest
from launchdeck.ui.application import WindowApplication

pytestmark = [pytest.mark.timeout(300), pytest.mark.usefixtures("qapp")]
MIB = 1024**2


def fill_form(application: WindowApplication, request: ModelLoadRequest) -> None:
    application.panels.form.show_request(request)


async def ask_over_http(core: Core, deployment: Deployment) -> str:
    """A completion as any program would ask for it; without the key it is refused."""
    body = {"messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 8}
    key = core.manager.api_key(deployment.id)
    async with httpx.AsyncClient(timeout=60) as http:
        url = f"{deployment.plan.url}/chat/completions"
        assert (await http.post(url, json=body)).status_code == 401
        answer = await http.post(url, json=body, headers={"Authorization": f"Bearer {key}"})
    assert answer.status_code == 200
    return str(answer.json()["choices"][0]["message"]["content"])


async def ask_in_window(application: WindowApplication, deployment: Deployment) -> str:
    application.panels.deployments.select(deployment.id)
    application.panels.tabs.setCurrentWidget(application.try_it)
    type_and_send(application.try_it, "What is the capital of France?")
    transcript = text_field(application.try_it, "Conversation")
    speed = application.try_it.findChildren(QLabel)
    await until(lambda: any("tok/s" in label.text() for label in speed), "the speed of an answer")
    _, answer = transcript.toPlainText().split("What is the capital of France?")
    return answer.replace(deployment.plan.model_id, "").strip()


async def stop_in_window(application: WindowApplication, core: Core, deployment: Deployment) -> None:
    running = current(core, deployment.id)
    application.panels.deployments.stop_requested.emit(deployment.id)
    await until(lambda: current(core, deployment.id).state is State.STOPPED, "stopped")
    assert_gone(running)


def wait_until_listening(port: int) -> None:
    deadline_s = time.monotonic() + 25
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            assert time.monotonic() < deadline_s, "the worker does not listen"
            time.sleep(0.05)
        else:
            return


@contextmanager
def rpc_worker(engine_bin: Path) -> Iterator[str]:
    port = free_ports(1).start
    worker = subprocess.Popen(
        [str(engine_bin / "ggml-rpc-server"), "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_until_listening(port)
        yield f"127.0.0.1:{port}"
    finally:
        worker.kill()
        worker.wait()


def test_embedded_engine_from_click_to_stop(demo_model: Path) -> None:
    request = ModelLoadRequest(
        model_path=demo_model, gpu_uuids=CPU_ONLY, n_ctx=1024, n_parallel=2, engine_id=str(EngineKind.EMBEDDED)
    )

    async def journey(application: WindowApplication, core: Core) -> None:
        await until(lambda: application.panels.form.request() is not None, "the demo model in the form")
        fill_form(application, request)
        running = await deploy(application, core)
        assert running.plan.engine.kind is EngineKind.EMBEDDED
        assert running.applied.n_ctx == 1024
        await until(lambda: current(core, running.id).applied.n_slots == 2, "the slots in the log")
        assert {buffer.device for buffer in running.applied.buffers if buffer.kind == "kv"} == {"CPU"}
        assert await ask_over_http(core, running)
        assert await ask_in_window(application, running)
        await stop_in_window(application, core, running)

    in_real_window(journey, quick_settings())


def test_embedding_model_on_the_embedded_engine(demo_model: Path) -> None:
    request = ModelLoadRequest(
        model_path=demo_model,
        server_type=ServerType.EMBEDDING,
        gpu_uuids=CPU_ONLY,
        n_ctx=512,
        engine_id=str(EngineKind.EMBEDDED),
    )

    async def journey(application: WindowApplication, core: Core) -> None:
        await until(lambda: application.panels.form.request() is not None, "the demo model in the form")
        fill_form(application, request)
        running = await deploy(application, core)
        application.panels.deployments.select(running.id)
        application.panels.tabs.setCurrentWidget(application.try_it)
        text_field(application.try_it, "Texts, one a line").setPlainText("a cat\na kitten\nan airport")
        click(application.try_it, "Embed")
        words = application.try_it.findChildren(QLabel)
        await until(lambda: any("3 × 576 dimensions" in label.text() for label in words), "the vectors")
        await stop_in_window(application, core, running)

    in_real_window(journey, quick_settings())


def test_real_llama_server_from_click_to_stop(demo_model: Path, engine_bin: Path) -> None:
    settings = quick_settings(llama_server_path=str(engine_bin / "llama-server"))
    request = ModelLoadRequest(model_path=demo_model, gpu_uuids=CPU_ONLY, n_ctx=1024)

    async def journey(application: WindowApplication, core: Core) -> None:
        await until(lambda: application.panels.form.request() is not None, "the demo model in the form")
        fill_form(application, request)
        running = await deploy(application, core)
        assert running.plan.engine.kind is EngineKind.LLAMA_SERVER
        await until(lambda: current(core, running.id).applied.n_ctx == 1024, "what the log says was applied")
        assert await ask_over_http(core, running)
        assert await ask_in_window(application, running)
        await stop_in_window(application, core, running)

    in_real_window(journey, settings)


def test_layers_really_go_to_the_device_that_was_chosen(demo_model: Path, engine_bin: Path) -> None:
    with rpc_worker(engine_bin) as address:
        settings = quick_settings(llama_server_path=str(engine_bin / "llama-server"), rpc_workers=(address,))
        request = ModelLoadRequest(
            model_path=demo_model, gpu_uuids=(), rpc_workers=(address,), n_gpu_layers=20, n_ctx=1024
        )

        async def journey(application: WindowApplication, core: Core) -> None:
            await until(lambda: application.panels.form.request() is not None, "the demo model in the form")
            fill_form(application, request)
            running = await deploy(application, core)
            position = running.plan.argv.index("--n-gpu-layers")
            assert running.plan.argv[position + 1] == "20"
            assert (running.applied.layers_offloaded, running.applied.layers_total) == (20, 31)
            (device,) = running.plan.device_names
            predicted = running.plan.estimate.devices[0]
            assert running.applied.device_bytes(device, "weights") == pytest.approx(predicted.weights_bytes, abs=MIB)
            assert running.applied.device_bytes(device, "kv") == pytest.approx(predicted.kv_bytes, abs=MIB)
            assert await ask_over_http(core, running)
            await stop_in_window(application, core, running)

        in_real_window(journey, settings)


def test_a_model_removed_between_scan_and_launch_is_told(demo_model: Path, tmp_path: Path) -> None:
    gone = tmp_path / "soon-gone.gguf"
    gone.write_bytes(demo_model.read_bytes())

    async def journey(application: WindowApplication, core: Core) -> None:
        await until(lambda: application.panels.form.request() is not None, "the models in the form")
        fill_form(application, ModelLoadRequest(model_path=gone, gpu_uuids=CPU_ONLY, n_ctx=512))
        await until(lambda: button(application.panels.form, "Deploy").isEnabled(), "the Deploy button")
        gone.unlink()
        click(application.panels.form, "Deploy")
        await until(lambda: "soon-gone.gguf" in application.window.notice.text, "the sentence")
        assert core.manager.deployments == ()

    in_real_window(journey, quick_settings(model_folders=(str(tmp_path),)))


def test_from_a_failure_to_the_lines_that_tell_of_it(demo_model: Path) -> None:
    async def journey(application: WindowApplication, core: Core) -> None:
        fill_form(application, ModelLoadRequest(model_path=demo_model, gpu_uuids=CPU_ONLY, n_ctx=512))
        running = await deploy(application, core)
        os.kill(running.pids[0], signal.SIGKILL)
        await until(lambda: current(core, running.id).state is State.FAILED, "the failure")
        failure = current(core, running.id).failure
        assert failure is not None
        click(application.panels.tabs.widget(0), "Show in the log")
        log = text_field(application.panels.tabs.currentWidget(), "Log")
        await until(lambda: log.textCursor().selectedText(), "a line in sight")
        assert log.textCursor().selectedText() in failure.evidence

    in_real_window(journey, quick_settings())


def test_the_fix_of_a_failure_is_the_launch_that_follows(demo_model: Path, tmp_path: Path) -> None:
    """The engine is told what to say by a file beside the model: first what llama-server said when it failed so."""
    model = tmp_path / "smol.gguf"
    model.write_bytes(demo_model.read_bytes())
    switches = model.with_name("smol.gguf.switches")
    (recorded,) = (recorded for recorded in RECORDED if recorded.get("log") == "k_cache_type_unfit.log")
    said = [f"--say={line}" for line in lines_of(recorded)]
    switches.write_text(json.dumps([*said, "--silent", "--exit-code", "1"]))
    settings = quick_settings(model_folders=(str(tmp_path),), llama_server_path=str(llama_server.install(tmp_path)))

    async def journey(application: WindowApplication, core: Core) -> None:
        await until(lambda: application.panels.form.request() is not None, "the models in the form")
        fill_form(application, ModelLoadRequest(model, gpu_uuids=CPU_ONLY, n_ctx=512, cache_type_k="q8_0"))
        await until(lambda: button(application.panels.form, "Deploy").isEnabled(), "the Deploy button")
        click(application.panels.form, "Deploy")
        await until(lambda: [d for d in core.manager.deployments if d.state is State.FAILED], "the failure")
        (failed,) = core.manager.deployments
        offered = application.panels.deployments.menu_for(failed).actions()[0]
        assert offered.text() == "Store K as f16"
        offered.trigger()
        asked = application.panels.form.request()
        assert asked is not None
        assert (asked.model_path, asked.n_ctx, asked.cache_type_k) == (model, 512, "f16")
        switches.unlink()
        running = await deploy(application, core)
        assert running.plan.request.cache_type_k == "f16"
        await stop_in_window(application, core, running)

    in_real_window(journey, settings)
