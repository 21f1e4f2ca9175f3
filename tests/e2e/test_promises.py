"""Memory that is promised is gone: launches in a row on one card, seen from outside while their engines still load."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from e2e.real_application import WITHOUT_WINDOW, RealApplication, application
from fakes import gguf_models, llama_server
from fakes.nvml import GIB, FakeNvml
from fakes.serving import until

pytestmark = pytest.mark.timeout(180)
MIB = 2**20
CUDA0 = "CUDA0: NVIDIA GeForce RTX 4090 (24564 MiB, 22000 MiB free)"
LOADING = ("--load-s", 600)
DEADLINE_S = 30.0


@pytest.fixture
def nvml(nvml_library: Path, tmp_path: Path) -> FakeNvml:
    """One card, 24 GiB, nearly all of it free."""
    fake = FakeNvml(nvml_library, tmp_path)
    fake.add_gpu(used=GIB // 4)
    return fake


@pytest.fixture
def app(nvml: FakeNvml) -> Iterator[RealApplication]:
    with application() as app:
        llama_server.install(app.home, devices=[(CUDA0, "0000:01:00.0")])
        app.environment |= nvml.environment
        yield app.start(WITHOUT_WINDOW)
        for entry in app.entries():
            app.stop(entry["model_id"])


def model(app: RealApplication, name: str, *switches: object) -> Path:
    """One that takes 10 to 11 GiB with all layers; the file is full of holes."""
    shape = {"n_layer": 40, "n_embd": 5120, "n_head": 40, "n_head_kv": 8, "n_ff": 17408, "head_dim": 128}
    path = app.model(name, *switches)
    path.unlink()
    big = gguf_models.llama(architecture="qwen3", n_vocab=151936, n_ctx=40960, quant="q4_k", head_norm=True, **shape)
    return big.write(path)


def ask(app: RealApplication, name: str, **changes: Any) -> Any:
    return app.ask_load_file(model(app, name, *LOADING), name, gpu_indices=[0], n_gpu_layers=-1, n_ctx=8192, **changes)


def test_the_third_launch_in_a_row_is_refused_and_the_promise_named(app: RealApplication) -> None:
    assert [ask(app, name).status_code for name in ("coder", "writer")] == [202, 202]
    refused = ask(app, "third")
    assert refused.status_code == 409
    problem = refused.json()
    assert (problem["cause"], problem["type"]) == ("out_of_memory", "/docs#out_of_memory")
    assert "third needs " in problem["detail"]
    assert " promised to coder, writer." in problem["detail"]
    assert "on GPU 0" in problem["detail"]
    assert "force" in problem["advice"]
    assert [fix["changes"]["n_gpu_layers"] for fix in problem["fixes"] if "n_gpu_layers" in fix["changes"]]
    assert [entry["model_id"] for entry in app.entries()] == ["coder", "writer"]
    (gpu,) = app.http.get("/api/management/gpus").json()["gpus"]
    assert gpu["promised_memory_mb"] > 18 * 1024
    assert gpu["promised_memory_mb"] < gpu["free_memory_mb"]
    assert ask(app, "third", force=True).status_code == 202


def test_a_plan_tells_what_is_promised_and_auto_leaves_it_alone(app: RealApplication) -> None:
    (alone,) = plan(app)["estimate"]["devices"]
    assert alone["promised_bytes"] == 0
    for name in ("coder", "writer"):
        assert ask(app, name).status_code == 202
    document = plan(app)
    (device,) = document["estimate"]["devices"]
    assert device["promised_bytes"] > 18 * GIB
    assert device["promised_to"] == ["coder", "writer"]
    assert abs(alone["free_bytes"] - device["free_bytes"] - device["promised_bytes"]) < MIB
    assert device["total_bytes"] <= device["free_bytes"]
    assert document["layers"]["resolved"] < document["layers"]["total"]


def plan(app: RealApplication) -> Any:
    body = {"model_path": str(model(app, "planned")), "n_gpu_layers": None, "gpu_indices": [0], "n_ctx": 8192}
    answer = app.post("plan", **body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_two_clients_within_the_same_second_see_each_other(app: RealApplication) -> None:
    names = [f"model-{number}" for number in range(4)]
    for name in names:
        model(app, name, *LOADING)
    with ThreadPoolExecutor(len(names)) as clients:
        codes = list(clients.map(lambda name: ask(app, name).status_code, names))
    assert sorted(codes) == [202, 202, 409, 409]


def test_what_a_stopped_launch_was_promised_is_free_at_once(app: RealApplication) -> None:
    assert [ask(app, name).status_code for name in ("coder", "writer", "third")] == [202, 202, 409]
    app.stop("coder")
    assert ask(app, "third").status_code == 202


def test_a_promise_ends_when_the_driver_counts_the_memory(app: RealApplication, nvml: FakeNvml) -> None:
    assert ask(app, "coder").status_code == 202
    until(lambda: app.entry("coder")["state"] == "loading", "the engine", DEADLINE_S)
    (predicted,) = app.entry("coder")["predicted"]["devices"]
    (pid, *_) = app.tree(app.entry("coder")["id"])
    half = predicted["total_bytes"] // 2
    nvml.set(**{"0.compute": f"{pid}:{half}", "0.used": GIB // 4 + half})
    until(lambda: abs(promised_mib(app) - half // MIB) <= 2, "half of the promise", DEADLINE_S)
    nvml.set(**{"0.compute": f"{pid}:{2 * half}", "0.used": GIB // 4 + 2 * half})
    until(lambda: promised_mib(app) == 0, "the end of the promise", DEADLINE_S)


def promised_mib(app: RealApplication) -> int:
    (gpu,) = app.http.get("/api/management/gpus").json()["gpus"]
    return int(gpu["promised_memory_mb"])


def test_a_launch_that_is_adopted_while_it_loads_keeps_its_promise(app: RealApplication) -> None:
    assert [ask(app, name).status_code for name in ("coder", "writer")] == [202, 202]
    until(lambda: all(entry["state"] == "loading" for entry in app.entries()), "the engines", DEADLINE_S)
    app.kill()
    app.start(WITHOUT_WINDOW)
    refused = ask(app, "third")
    assert refused.status_code == 409
    assert " promised to coder, writer." in refused.json()["detail"]


def test_the_command_line_refuses_as_well_and_can_be_forced(app: RealApplication, nvml: FakeNvml) -> None:
    holder = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    nvml.set(**{"0.compute": f"{holder.pid}:{20 * GIB}", "0.used": 20 * GIB})
    try:
        until(lambda: app.http.get("/api/management/gpus").json()["gpus"][0]["free_memory_mb"] < 4000, "the reading")
        path = model(app, "held", *LOADING)
        refused = command(app, "deploy", path, "--gpu", "0", "--layers", "all", "--name", "held")
        assert refused.returncode == 1
        assert " 20.0 held by " in refused.stderr
        assert f"(pid {holder.pid})" in refused.stderr
        assert "Traceback" not in refused.stderr
        forced = ("--layers", "all", "--name", "held", "--force", "--no-wait")
        started = command(app, "deploy", path, "--gpu", "0", *forced)
        assert started.returncode == 0, started.stderr
        assert app.entry("held")["state"] in {"starting", "loading"}
        shown = command(app, "plan", path, "--gpu", "0")
        assert "promised to held" in shown.stdout, shown.stdout + shown.stderr
    finally:
        holder.kill()
        holder.wait()


def command(app: RealApplication, *arguments: object) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **app.environment, "LAUNCHDECK_HOME": str(app.home)}
    words = [sys.executable, "-m", "launchdeck", *map(str, arguments)]
    return subprocess.run(words, env=environment, capture_output=True, text=True, timeout=120, check=False)
