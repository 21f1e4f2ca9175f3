"""The embedded engine and the real llama-server: what was asked for is what runs."""

from __future__ import annotations

import asyncio
import signal
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from e2e.engine_process import KEY, free_port, rpc_worker, running
from fakes.samples import inventory
from launchdeck.domain.deployment import Exit
from launchdeck.domain.errors import Cause, LaunchdeckError
from launchdeck.domain.model import ServerType
from launchdeck.domain.plan import EngineInfo, EngineKind, LaunchPlan
from launchdeck.domain.request import CPU_ONLY, ModelLoadRequest
from launchdeck.engines.find import find_engines
from launchdeck.engines.planner import Planner
from launchdeck.engines.registry import adapters
from launchdeck.serving import client
from launchdeck.settings.paths import Paths
from launchdeck.settings.schema import Settings

MIB = 1024 * 1024
QUESTION = ({"role": "user", "content": "What is the capital of France?"},)


def find(kind: EngineKind, **settings: Any) -> EngineInfo:
    engines = find_engines(Settings(**settings), Paths.resolve()).engines
    return next(engine for engine in engines if engine.kind is kind)


def plan_for(engine: EngineInfo, model: Path, **request: Any) -> LaunchPlan:
    planner = Planner(Settings)
    planner.inventory = inventory()
    planner.engines = (engine,)
    return planner.plan(ModelLoadRequest(model, **{"gpu_uuids": CPU_ONLY, "n_ctx": 1024, **request}), free_port())


@pytest.fixture
def llama_server(engine_bin: Path) -> EngineInfo:
    return find(EngineKind.LLAMA_SERVER, llama_server_path=str(engine_bin / "llama-server"))


@pytest.fixture(params=["embedded", "llama-server"])
def engine(request: pytest.FixtureRequest) -> EngineInfo:
    if request.param == "embedded":
        return find(EngineKind.EMBEDDED)
    return request.getfixturevalue("llama_server")


def test_context_slots_and_buffers_are_what_was_asked_for_and_predicted(
    engine: EngineInfo, demo_model: Path, tmp_path: Path
) -> None:
    plan = plan_for(engine, demo_model, n_ctx=768, n_parallel=3, cache_type_k="q8_0", cache_type_v="q8_0")
    with running(plan, tmp_path / "log") as process:
        applied = process.until_ready().applied
    assert (applied.n_ctx, applied.n_slots) == (768, 3)
    assert applied.devices == ()
    host = plan.estimate.host
    measured = {kind: sum(b.size_bytes for b in applied.buffers if b.kind == kind) for kind in ("weights", "kv")}
    assert measured["kv"] == pytest.approx(host.kv_bytes, abs=0.01 * MIB)
    assert measured["weights"] == pytest.approx(host.weights_bytes, abs=0.01 * MIB)


def test_it_answers_with_its_key_and_its_name(engine: EngineInfo, demo_model: Path, tmp_path: Path) -> None:
    plan = plan_for(engine, demo_model, model_id="demo")

    async def ask(key: str) -> list[client.ChatChunk]:
        return [chunk async for chunk in client.chat(plan.url, key, "demo", QUESTION, max_tokens=12)]

    with running(plan, tmp_path / "log") as process:
        process.until_ready()
        chunks = asyncio.run(ask(KEY))
        with pytest.raises(LaunchdeckError, match=r"(?i)invalid api key"):
            asyncio.run(ask("another"))
        assert KEY not in process.text()
    assert "".join(chunk.text for chunk in chunks).strip()
    assert 0 < chunks[-1].tokens <= 12
    assert chunks[-1].tokens_per_s > 0


def test_a_decoder_serves_embeddings_as_long_as_its_context(
    engine: EngineInfo, demo_model: Path, tmp_path: Path
) -> None:
    plan = plan_for(engine, demo_model, server_type=ServerType.EMBEDDING, n_ctx=1024, n_parallel=2)
    texts = ("A cat.", "Two words " * 300)
    with running(plan, tmp_path / "log") as process:
        process.until_ready()
        result = asyncio.run(client.embed(plan.url, KEY, plan.model_id, texts))
    assert (len(result.vectors), result.dimensions) == (2, 576)
    assert sum(x * x for x in result.vectors[0]) == pytest.approx(1, abs=0.001)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_embedded_engine_ends_by_a_signal_even_while_its_input_stays_open(
    demo_model: Path, tmp_path: Path, number: signal.Signals
) -> None:
    with running(plan_for(find(EngineKind.EMBEDDED), demo_model), tmp_path / "log") as process:
        process.until_ready()
        process.process.send_signal(number)
        assert process.until_ended() == -number


def test_the_end_of_its_input_ends_it(engine: EngineInfo, demo_model: Path, tmp_path: Path) -> None:
    with running(plan_for(engine, demo_model), tmp_path / "log") as process:
        process.until_ready()
        assert process.process.poll() is None
        process.process.stdin.close()
        process.until_ended()


def test_a_port_that_is_taken_is_named_as_the_cause(engine: EngineInfo, demo_model: Path, tmp_path: Path) -> None:
    plan = plan_for(engine, demo_model)
    for attempt in range(3):  # llama-server ends without waiting for the thread that writes its last lines
        log = tmp_path / f"log-{attempt}"
        with socket.create_server(("127.0.0.1", plan.port)), running(plan, log) as process:
            code = process.until_ended()
        if "couldn't bind" in process.text():
            break
    failure = adapters()[engine.kind].explain_exit(process.findings(), Exit(code, None), process.text().splitlines())
    assert failure.cause is Cause.PORT_TAKEN, process.text()


def test_an_incomplete_download_is_named_as_the_cause(engine: EngineInfo, demo_model: Path, tmp_path: Path) -> None:
    whole = plan_for(engine, demo_model)
    half = tmp_path / "half.gguf"
    half.write_bytes(demo_model.read_bytes()[: 40 * MIB])
    argv = tuple(str(half) if word == str(demo_model) else word for word in whole.argv)
    with running(replace(whole, argv=argv), tmp_path / "log") as process:
        assert process.until_ended() == 1
        assert process.findings().failure.cause is Cause.MODEL_UNUSABLE, process.text()


def test_an_option_it_does_not_know_is_refused(engine: EngineInfo, demo_model: Path, tmp_path: Path) -> None:
    plan = plan_for(engine, demo_model)
    with running(replace(plan, argv=(*plan.argv, "--no-such-option")), tmp_path / "log") as process:
        assert process.until_ended() != 0
        assert "--no-such-option" in str(process.findings().failure)


def test_the_embedded_engine_carries_out_its_rarer_options(demo_model: Path, tmp_path: Path) -> None:
    plan = plan_for(find(EngineKind.EMBEDDED), demo_model)
    rare = ("--tensor-split", "3,1", "--flash-attn", "off", "--threads", "1", "--cache-type-k", "iq4_nl")
    with running(replace(plan, argv=(*plan.argv, *rare)), tmp_path / "log") as process:
        applied = process.until_ready().applied
        assert "n_threads = 1" in process.text()
    assert applied.flash_attention is not True
    assert 0 < applied.device_bytes("CPU", "kv") < plan.estimate.host.kv_bytes


def test_the_embedded_engine_starts_without_importing_the_application(demo_model: Path, tmp_path: Path) -> None:
    plan = plan_for(find(EngineKind.EMBEDDED), demo_model)
    argv = (plan.argv[0], "-X", "importtime", *plan.argv[1:])
    with running(replace(plan, argv=argv), tmp_path / "log") as process:
        process.until_ready()
        imported = [line.rpartition("|")[2].strip() for line in process.text().splitlines() if "import time:" in line]
    ours = {name for name in imported if name.startswith("launchdeck")}
    assert ours <= {"launchdeck", "launchdeck.engines", "launchdeck.engines.embedded_server"}


@pytest.mark.parametrize("layers", [0, 1, 20, 31])
def test_the_layers_on_a_worker_are_what_was_asked_for(
    llama_server: EngineInfo, engine_bin: Path, demo_model: Path, tmp_path: Path, layers: int
) -> None:
    with rpc_worker(engine_bin / "ggml-rpc-server") as address:
        plan = plan_for(llama_server, demo_model, rpc_workers=(address,), n_gpu_layers=layers)
        with running(plan, tmp_path / "log") as process:
            applied = process.until_ready().applied
    (predicted,), (name,) = plan.estimate.devices, plan.device_names
    assert applied.layers_offloaded == layers
    assert applied.layers_total == plan.layers.total == 31
    assert applied.device_bytes(name, "weights") == pytest.approx(predicted.weights_bytes, rel=0.02, abs=0.02 * MIB)
    assert applied.device_bytes(name, "kv") == pytest.approx(predicted.kv_bytes, abs=0.02 * MIB)


def test_two_workers_in_the_order_asked_for(
    llama_server: EngineInfo, engine_bin: Path, demo_model: Path, tmp_path: Path
) -> None:
    program = engine_bin / "ggml-rpc-server"
    with rpc_worker(program) as one, rpc_worker(program) as other:
        found = find(EngineKind.LLAMA_SERVER, llama_server_path=llama_server.command[0], rpc_workers=(one, other))
        plan = plan_for(found, demo_model, rpc_workers=(other, one))
        assert plan.layers.largest_that_fits == plan.layers.resolved == 31
        with running(plan, tmp_path / "log") as process:
            applied = process.until_ready().applied
    assert plan.device_names == (f"RPC0[{other}]", f"RPC0[{one}]")
    for name, predicted in zip(plan.device_names, plan.estimate.devices, strict=True):
        assert applied.device_bytes(name, "kv") == pytest.approx(predicted.kv_bytes, abs=0.02 * MIB)


def test_a_worker_that_is_away_is_named(llama_server: EngineInfo, demo_model: Path, tmp_path: Path) -> None:
    address = f"127.0.0.1:{free_port()}"
    plan = plan_for(llama_server, demo_model, rpc_workers=(address,), n_gpu_layers=5)
    with running(plan, tmp_path / "log") as process:
        assert process.until_ended() == 1
        failure = process.findings().failure
    assert failure.cause is Cause.START_FAILED
    assert address in str(failure) or "RPC0" in str(failure)


def test_options_of_the_environment_change_nothing(
    engine: EngineInfo, demo_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLAMA_ARG_POOLING", "nonsense")  # llama-server would refuse to start
    monkeypatch.setenv("LLAMA_ARG_API_KEY_FILE", "/no/such/file")
    with running(plan_for(engine, demo_model), tmp_path / "log") as process:
        process.until_ready()
