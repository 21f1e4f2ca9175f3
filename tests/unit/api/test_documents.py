"""The documents of the contract, by their exact keys and values."""

from __future__ import annotations

import asyncio
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from fakes import api, samples
from fakes.gguf_recurrent import mamba
from fakes.recorded import offered_fixes
from fakes.samples import inventory, two_gpus
from fakes.serving import alive
from launchdeck.api.documents import failure_document
from launchdeck.api.requests import MEANINGS, LoadBody, load_request, parse
from launchdeck.domain.errors import Cause, Failure, Fix
from launchdeck.domain.gpu import GpuType
from launchdeck.domain.request import ModelLoadRequest
from launchdeck.domain.text import Message

GPU_KEYS = {
    "index", "uuid", "pci_address", "name", "gpu_type", "total_memory_mb", "used_memory_mb", "free_memory_mb",
    "utilization_percent", "temperature_c", "power_watts", "state", "processes",
}  # fmt: skip
STATUS_KEYS = {
    "model_id", "status", "state", "backend", "port", "gpu_index", "n_gpu_layers", "context_length", "server_type",
    "engine", "url", "api_key", "progress", "applied", "predicted", "measured", "error",
}  # fmt: skip


async def refusal(http: httpx.AsyncClient, status: int, **body: Any) -> dict[str, Any]:
    answer = await http.post("/api/inference/load", json=body)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    document: dict[str, Any] = answer.json()
    return document


def test_gpus() -> None:
    async def scenario() -> None:
        async with api.running() as (_bench, http):
            document = (await http.get("/api/management/gpus")).json()
            assert (document["total"], document["detector"]) == (2, "NVMLDetector")
            first, second = document["gpus"]
            assert first.keys() >= GPU_KEYS
            assert (first["index"], first["gpu_type"], first["total_memory_mb"]) == (0, "nvidia", 24576)
            assert (second["index"], second["gpu_type"]) == (1, "amd")

    api.run(scenario)


def test_without_a_gpu_the_list_is_the_cpu_and_its_place_can_be_asked_for() -> None:
    async def scenario() -> None:
        async with api.running(inventory=inventory()) as (bench, http):
            (cpu,) = (await http.get("/api/management/gpus")).json()["gpus"]
            assert (cpu["index"], cpu["gpu_type"]) == (0, "cpu")
            await bench.load(http, gpu_indices=None, gpu_index=0, model_id="on-cpu")
            entry = await bench.until(http, "on-cpu", "running")
            assert (entry["gpu_index"], entry["gpu_indices"], entry["n_gpu_layers"]) == (0, [], 0)

    api.run(scenario)


def test_load_status_and_unload() -> None:
    async def scenario() -> None:
        async with api.running("--load-s", 0.3) as (bench, http):
            started = await bench.load(http, model_id="tiny")
            port = bench.setup.settings.first_port
            key = started.pop("api_key")
            assert len(key) >= 20
            id_ = started.pop("id")
            assert started == {
                "model_id": "tiny",
                "port": port,
                "backend": "llama",
                "engine": "llama-server",
                "status": "loading",
                "state": "starting",
                "url": f"http://127.0.0.1:{port}/v1",
                "gpu_index": None,
                "gpu_indices": [],
                "gpu_uuids": [],
                "warnings": [],
            }
            (entry,) = (await http.get("/api/inference/loading-status")).json()["models"]
            assert entry["status"] == "loading"
            entry = await bench.until(http, "tiny", "running")
            assert entry.keys() >= STATUS_KEYS
            assert (entry["id"], entry["status"], entry["port"], entry["api_key"]) == (id_, "running", port, key)
            assert (entry["gpu_index"], entry["context_length"], entry["progress"]) == (None, 128, 1.0)
            assert entry["error"] is None
            assert entry["measured"]["loading_s"] > 0
            assert entry["predicted"]["host"]["weights_bytes"] > 0
            gone = await http.post("/api/inference/unload", json={"model_id": "tiny"})
            assert gone.status_code == 200
            words = {"model_id": "tiny", "status": "stopped", "state": "stopped"}
            assert gone.json() == {"id": id_, **words, "was_live": True, "note": None}
            assert (await http.get("/api/inference/loading-status")).json() == {"models": []}
            assert (await http.post("/api/inference/unload", json={"model_id": "tiny"})).status_code == 404

    api.run(scenario)


def test_a_model_that_failed_says_why_and_can_be_forgotten() -> None:
    async def scenario() -> None:
        switches = ("--say", "error: unknown model architecture: 'nobody'", "--exit-code", 1)
        async with api.running(*switches) as (bench, http):
            await bench.load(http, model_id="broken")
            entry = await bench.until(http, "broken", "failed")
            assert entry["status"] == "failed"
            assert entry["error"]["message"]
            assert entry["error"].keys() == {"cause", "message", "advice", "evidence", "fixes"}
            lines = (await http.get("/api/inference/logs/broken")).json()["lines"]
            assert any("unknown model architecture" in line for line in lines)
            gone = await http.post("/api/inference/unload", json={"model_id": "broken"})
            assert gone.json()["was_live"] is False
            assert (await http.get("/api/inference/loading-status")).json() == {"models": []}

    api.run(scenario)


def test_twenty_models_and_no_more() -> None:
    async def scenario() -> None:
        async with api.running() as (bench, http):
            await bench.load(http, model_id="first")
            problem = await refusal(http, 409, model_path=str(bench.model()), gpu_indices=[])
            assert problem["detail"] == "No available ports (max 1 models reached)"
            assert problem["advice"].startswith("Stop a model")
            assert problem["cause"] == "no_port"
            assert len(bench.manager.deployments) == 1

    api.run(scenario)


def test_a_name_that_is_in_use_is_a_conflict() -> None:
    async def scenario() -> None:
        async with api.running(last_port=65535) as (bench, http):
            await bench.load(http, model_id="first")
            problem = await refusal(http, 409, model_path=str(bench.model()), gpu_indices=[], model_id="first")
            assert problem["cause"] == "conflict"

    api.run(scenario)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model_id": 5}, "model_id has to be a text"),
        ({"n_ctx": "8192"}, "n_ctx has to be a whole number"),
        ({"n_ctx": True}, "n_ctx has to be a whole number"),
        ({"n_gpu_layers": 99}, "6 layers"),
        ({"server_type": "chat"}, "server_type has to be 'llm' or 'embedding'"),
        ({"trust_remote_code": True}, "trust_remote_code is not known here"),
        ({"host": "0.0.0.0"}, "host is not known here"),
        ({"rpc_workers": ["10.0.0.1:50052"]}, "none of the RPC workers"),
    ],
)
def test_a_request_that_cannot_be_used_is_told_in_words(changes: dict[str, Any], words: str) -> None:
    async def scenario() -> None:
        async with api.running() as (bench, http):
            body = {"model_path": str(bench.model()), "gpu_indices": []} | changes
            problem = await refusal(http, 400, **body)
            assert words in problem["detail"]
            assert bench.manager.deployments == ()

    api.run(scenario)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"gpu_index": 7}, "There is no GPU 7."),
        ({"gpu_indices": [0, -1]}, "There is no GPU -1."),
        ({"gpu_uuids": ["GPU-nobody"]}, "There is no GPU GPU-nobody."),
        ({"gpu_uuids": ["0000:7f:00.0"]}, "There is no GPU 0000:7f:00.0."),
        ({"gpu_uuids": ["x" * 129]}, "1 to 128 characters"),
        ({"gpu_uuids": [""]}, "1 to 128 characters"),
        ({"gpu_uuids": ["GPU-0"] * 129}, "at most 128 GPUs"),
        ({"gpu_index": 0, "gpu_indices": []}, "both gpu_index and gpu_indices"),
        ({"gpu_index": 0, "gpu_uuids": ["GPU-1"]}, "both gpu_index and gpu_uuids"),
        ({"gpu_indices": [0, 1], "gpu_uuids": ["GPU-1", "GPU-0"]}, "both gpu_indices and gpu_uuids"),
    ],
)
def test_a_gpu_that_is_not_there_or_is_not_clear_is_told_by_the_name_it_was_given(
    changes: dict[str, Any], words: str
) -> None:
    async def scenario() -> None:
        async with api.running() as (bench, http):
            problem = await refusal(http, 422, model_path=str(bench.model()), **changes)
            assert words in problem["detail"]
            assert problem["cause"] == "bad_gpu"
            assert bench.manager.deployments == ()

    api.run(scenario)


@pytest.mark.parametrize(
    "named",
    [
        {"gpu_index": 1},
        {"gpu_indices": [1]},
        {"gpu_uuids": ["GPU-1"]},
        {"gpu_uuids": ["gpu-1"]},
        {"gpu_uuids": ["0000:02:00.0"]},
        {"gpu_uuids": ["02:00.0"]},
        {"gpu_index": 1, "gpu_indices": [1], "gpu_uuids": ["00000000:02:00.0"]},
    ],
)
def test_a_gpu_is_found_by_every_name_it_has(named: dict[str, Any]) -> None:
    async def scenario() -> None:
        async with api.running() as (bench, http):
            started = await bench.load(http, model_id="tiny", **{"gpu_indices": None} | named)
            assert (started["gpu_index"], started["gpu_indices"], started["gpu_uuids"]) == (1, [1], ["GPU-1"])
            without = inventory(bench.planner.inventory.gpus[0])
            bench.manager.observe(without)
            (entry,) = (await http.get("/api/inference/loading-status")).json()["models"]
            assert (entry["gpu_index"], entry["gpu_indices"], entry["gpu_uuids"]) == (None, [], ["GPU-1"])
            assert (entry["lost_gpus"], entry["lost_gpu_uuids"]) == ([], ["GPU-1"])
            moved = replace(bench.planner.inventory.gpus[1], gpu=replace(bench.planner.inventory.gpus[1].gpu, index=0))
            bench.manager.observe(inventory(moved))
            (entry,) = (await http.get("/api/inference/loading-status")).json()["models"]
            assert (entry["gpu_index"], entry["gpu_indices"], entry["gpu_uuids"]) == (0, [0], ["GPU-1"])
            assert entry["lost_gpu_uuids"] == []

    api.run(scenario)


def test_an_address_that_several_gpus_share_is_not_guessed() -> None:
    parts = [samples.gpu(n, "H100 1g.10gb", GpuType.NVIDIA, 10, 1) for n in (0, 1)]
    parts = [replace(part, gpu=replace(part.gpu, pci_address="0000:01:00.0")) for part in parts]

    async def scenario() -> None:
        async with api.running(inventory=inventory(*parts)) as (bench, http):
            problem = await refusal(http, 422, model_path=str(bench.model()), gpu_uuids=["01:00.0"])
            assert problem["detail"] == "2 GPUs are at 01:00.0."

    api.run(scenario)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b'"x"', b"\xff\xfe", b'{"model_path": "\\ud800"}'])
def test_what_is_no_request_is_told(content: bytes) -> None:
    async def scenario() -> None:
        async with api.running() as (_bench, http):
            for path in ("load", "plan", "unload", "restart"):
                headers = {"Content-Type": "application/json"}
                answer = await http.post(f"/api/inference/{path}", headers=headers, content=content)
                assert answer.status_code == 400, answer.text
                assert "The request cannot be used" in answer.json()["detail"]

    api.run(scenario)


def test_a_name_may_have_slashes() -> None:
    async def scenario() -> None:
        async with api.running() as (bench, http):
            await bench.load(http, model_id="org/tiny")
            await bench.until(http, "org/tiny", "running")
            for name in ("org%2Ftiny", "org/tiny"):
                assert (await http.get(f"/api/inference/logs/{name}")).json()["model_id"] == "org/tiny"
                async with http.stream("GET", f"/api/inference/logs/{name}/stream") as answer:
                    assert answer.headers["content-type"].startswith("text/event-stream")
            assert (await http.get("/api/inference/logs/org/other")).json()["cause"] == "not_found"

    api.run(scenario)


def test_a_file_whose_name_is_no_text_is_listed() -> None:
    async def scenario() -> None:
        async with api.running() as (bench, http):
            (bench.model().parent / os.fsdecode(b"bad\xff.gguf")).write_bytes(b"GGUF")
            found = (await http.get("/api/management/models")).json()["models"]
            assert any(os.fsencode(model["path"]).endswith(b"/bad\xff.gguf") for model in found)

    api.run(scenario)


def test_only_models_of_the_library_are_loaded(tmp_path: Any) -> None:
    async def scenario() -> None:
        async with api.running() as (bench, http):
            inside = bench.model()
            secret = tmp_path / "secret.gguf"
            secret.write_bytes(inside.read_bytes())
            link = inside.parent / "link.gguf"
            link.symlink_to(secret)
            folder = inside.parent / "folder.gguf"
            folder.mkdir()
            model = inside.parent / "hf"
            model.mkdir()
            (model / "config.json").write_text("{}")
            (model / "model.safetensors").symlink_to(secret)
            for path, status in (
                (secret, 403),
                (tmp_path / "gone.gguf", 403),
                (link, 403),
                (inside.parent / ".." / ".." / "x.gguf", 400),
                ("tiny.gguf", 400),
                ("/dev/zero", 403),
                (str(inside) + "\0", 400),
                (folder, 400),
                (model, 403),
                (inside.parent / "gone.gguf", 404),
            ):
                await refusal(http, status, model_path=str(path))
            assert bench.manager.deployments == ()
            there = await refusal(http, 403, model_path=str(secret))
            away = await refusal(http, 403, model_path=str(tmp_path / "gone.gguf"))
            assert there["detail"].replace("secret", "gone") == away["detail"]

    api.run(scenario)


def test_a_plan_is_what_the_load_would_do() -> None:
    async def scenario() -> None:
        async with api.running() as (bench, http):
            body = {"model_path": str(bench.model()), "gpu_index": 0, "n_gpu_layers": 3, "n_ctx": 256}
            document = (await http.post("/api/inference/plan", json=body)).json()
            assert document["layers"] == {"asked": 3, "resolved": 3, "total": 6, "largest_that_fits": 6}
            assert document["env"]["CUDA_VISIBLE_DEVICES"] == "GPU-0"
            assert document["env"]["LLAMA_API_KEY"] == "***"
            assert bench.manager.deployments == ()
            await bench.load(http, **(body | {"gpu_indices": None}))
            (deployment,) = bench.manager.deployments
            assert list(deployment.plan.argv) == document["argv"]

    api.run(scenario)


def test_a_header_that_contradicts_itself_is_refused_in_words() -> None:
    async def scenario() -> None:
        async with api.running() as (bench, http):
            whole = mamba()
            row = [replace(t, shape=(t.shape[0] * t.shape[1],)) if "conv1d.w" in t.name else t for t in whole.tensors]
            path = replace(whole, tensors=tuple(row)).write(bench.model())
            for door in ("plan", "load"):
                answer = await http.post(f"/api/inference/{door}", json={"model_path": str(path), "gpu_index": 0})
                assert answer.status_code == 422
                assert answer.json()["cause"] == "model_unusable"
                assert "ssm_conv1d.weight" in answer.json()["detail"]

    api.run(scenario)


def test_models_and_restart() -> None:
    async def scenario() -> None:
        async with api.running() as (bench, http):
            path = bench.model()
            found = (await http.get("/api/management/models")).json()["models"]
            assert str(path) in [model["path"] for model in found]
            first = await bench.load(http, model_id="tiny")
            await bench.until(http, "tiny", "running")
            answer = await http.post("/api/inference/restart", json={"model_id": first["id"]})
            assert answer.status_code == 202
            assert answer.json()["id"] != first["id"]
            await bench.until(http, "tiny", "running")
            metrics = (await http.get("/metrics")).text
            assert 'launchdeck_model_restarts_total{model="tiny"} 1.0' in metrics

    api.run(scenario)


@pytest.mark.parametrize("harm", ["gone", "damaged", "moved"])
def test_a_restart_that_cannot_be_planned_leaves_the_model_running(harm: str) -> None:
    async def scenario() -> None:
        async with api.running() as (bench, http):
            path = bench.model()
            started = await bench.load(http, model_id="tiny")
            before = await bench.until(http, "tiny", "running")
            match harm:
                case "gone":
                    path.unlink()
                case "damaged":
                    path.write_bytes(path.read_bytes()[:100])
                case "moved":
                    path.rename(path.with_name("elsewhere.gguf"))
            answer = await http.post("/api/inference/restart", json={"model_id": "tiny"})
            assert answer.status_code == 422
            assert answer.json()["cause"] == "model_unusable"
            (entry,) = (await http.get("/api/inference/loading-status")).json()["models"]
            assert (entry["id"], entry["state"], entry["port"]) == (started["id"], "running", before["port"])
            assert alive(bench.manager.deployment(started["id"]).pids)
            assert (await http.get(f"http://127.0.0.1:{before['port']}/health")).status_code == 200

    api.run(scenario)


def test_right_after_the_start_a_load_waits_for_the_first_look() -> None:
    async def scenario() -> None:
        async with api.running() as (bench, http):
            bench.planner.inventory = None
            loading = asyncio.create_task(bench.load(http, model_id="early"))
            await asyncio.sleep(0.2)
            assert not loading.done()
            bench.planner.inventory = two_gpus()
            assert (await loading)["model_id"] == "early"

    api.run(scenario)


def test_a_handover_is_answered_as_the_application_decides() -> None:
    async def scenario() -> None:
        for lets_go, status in ((True, 200), (False, 409)):
            async with api.running(hand_over=lets_go) as (bench, http):
                answer = await http.post("/api/management/handover", json={})
                assert (answer.status_code, bench.handed_over) == (status, 1)

    api.run(scenario)


def test_unknown_paths_and_methods_are_problems_too() -> None:
    async def scenario() -> None:
        async with api.running() as (_bench, http):
            for method, path, status in (
                ("GET", "/nothing", 404),
                ("POST", "/metrics", 405),
                ("GET", "/metrics/", 404),
            ):
                answer = await http.request(method, path, json={})
                assert (answer.status_code, answer.json()["status"]) == (status, status)
                assert answer.headers["content-type"] == "application/problem+json"

    api.run(scenario)


def test_everything_a_launch_can_be_asked_for_can_be_asked_for_over_http() -> None:
    asked = set(ModelLoadRequest.__dataclass_fields__) - {"known_gpus"}  # which are found, and asked of nobody
    assert asked | {"gpu_index", "gpu_indices", "force"} == set(LoadBody.model_fields)
    assert asked == set(MEANINGS)


@pytest.mark.parametrize("fix", offered_fixes(), ids=lambda fix: str(fix.label))
def test_the_changes_of_a_fix_make_another_load_of_the_one_that_failed(fix: Fix) -> None:
    sent = {"model_path": "/models/big.gguf", "gpu_index": 0, "n_ctx": 4096, "extra_args": ["--mlock"]}
    (offered,) = failure_document(Failure(Cause.START_FAILED, Message("It failed."), fixes=(fix,)))["fixes"]
    assert offered["label"] == str(fix.label)
    changed = load_request(parse(LoadBody, json.dumps(sent | offered["changes"]).encode()), two_gpus())
    failed = ModelLoadRequest(Path("/models/big.gguf"), gpu_uuids=("GPU-0",), n_ctx=4096, extra_args=("--mlock",))
    changes: dict[str, Any] = dict(fix.changes)
    assert changed == replace(failed, **changes)
