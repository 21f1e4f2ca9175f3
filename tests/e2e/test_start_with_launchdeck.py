"""Deployments that are marked come back by themselves: in their order, and as far as the memory goes."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest

from e2e.real_application import DEADLINE_S, WITHOUT_WINDOW, application
from fakes.samples import two_gpus
from fakes.serving import Bench, Planner, alive, fake_planner, no_process_left, until
from launchdeck.domain.deployment import State
from launchdeck.domain.errors import Cause
from launchdeck.domain.gpu import Inventory
from launchdeck.domain.plan import DeviceEstimate, EngineKind, Estimate, LaunchPlan, PlannedGpu
from launchdeck.domain.request import ModelLoadRequest
from launchdeck.engines.refusals import refusal
from launchdeck.serving.requests.start_list import StartList
from launchdeck.serving.requests.starting import start_marked

__all__ = ["no_process_left"]
pytestmark = pytest.mark.timeout(180)


@pytest.mark.parametrize("command", [None, WITHOUT_WINDOW], ids=["window", "serve"])
def test_after_a_restart_what_is_marked_runs_again_in_its_order(command: tuple[str, ...] | None) -> None:
    with application() as app:
        app.start(command)
        for name in ("second", "first", "unmarked"):
            app.running(name, "--load-s", 0.5)
        for name in ("first", "second", "unmarked"):
            assert app.post("start-with-launchdeck", model_id=name, enabled=True).status_code == 200
        assert app.post("start-with-launchdeck", model_id="unmarked", enabled=False).status_code == 200
        marks = {entry["model_id"]: entry["starts_with_launchdeck"] for entry in app.entries()}
        assert marks == {"first": True, "second": True, "unmarked": False}
        before = {entry["id"] for entry in app.entries()}
        everything = [pid for key in before for pid in (app.shim(key), *app.tree(key))]
        app.kill()
        for pid in everything:  # as a loss of power
            os.kill(pid, signal.SIGKILL)
        until(lambda: not alive(everything), "the end of everything")
        app.start(command)

        def new() -> list[str]:
            return [e["model_id"] for e in app.entries() if e["id"] not in before and e["state"] == "running"]

        until(lambda: len(new()) == 2, "both", DEADLINE_S)
        assert new() == ["first", "second"]
        failed = {entry["model_id"] for entry in app.entries() if entry["state"] == "failed"}
        assert failed == {"second", "first", "unmarked"}, "what became of the others is told"


def test_what_runs_already_is_not_started_twice() -> None:
    with application() as app:
        app.start(WITHOUT_WINDOW)
        entry = app.running("model")
        app.post("start-with-launchdeck", model_id="model", enabled=True)
        app.kill()
        app.start(WITHOUT_WINDOW)
        app.running("other")
        assert [(e["id"], e["model_id"]) for e in app.entries()][:1] == [(entry["id"], "model")]
        assert len(app.entries()) == 2


def test_what_does_not_fit_is_left_out_and_told_and_what_comes_after_it_is_not() -> None:
    usual = fake_planner()

    def planner(request: ModelLoadRequest, port: int) -> LaunchPlan:
        plan = usual(request, port)
        if request.model_id != "huge":
            return plan
        return replace(plan, estimate=Estimate((), DeviceEstimate("cpu", 1 << 50, 0, 0, 0, 1)))

    def inventory() -> Inventory:
        return replace(two_gpus(), sampled_at_s=1e12)

    async def scenario() -> None:
        bench = Bench(planner=planner, last_port=65535)
        for name in ("huge", "small"):
            bench.manager.start_list.mark(name, ModelLoadRequest(Path("/models/demo.gguf")), marked=True)
        (failure,) = await start_marked(bench.manager, refusal, inventory)
        assert failure.cause is Cause.OUT_OF_MEMORY
        assert str(failure.message) == (
            "huge does not start with Launchdeck: huge needs 1048576.0 GiB of RAM, 0.0 free."
        )
        (running,) = bench.manager.deployments
        assert (running.plan.model_id, running.state) == ("small", State.RUNNING)
        await bench.manager.stop_all()

    asyncio.run(scenario())


def marked_bench(planner: Planner, *names: str) -> Bench:
    bench = Bench(planner=planner, last_port=65535)
    for name in names:
        bench.manager.start_list.mark(name, ModelLoadRequest(Path("/models/demo.gguf")), marked=True)
    return bench


def states_by_name(bench: Bench) -> dict[str, State]:
    return {deployment.plan.model_id: deployment.state for deployment in bench.manager.deployments}


def reading() -> Inventory:
    return replace(two_gpus(), sampled_at_s=1e12)


def test_a_model_that_never_gets_ready_holds_nobody_up(caplog: pytest.LogCaptureFixture) -> None:
    def planner(request: ModelLoadRequest, port: int) -> LaunchPlan:
        load_s = 600 if request.model_id == "endless" else 0
        return fake_planner("--load-s", load_s)(request, port)

    async def scenario() -> None:
        bench = marked_bench(planner, "endless", "next", "last")
        assert await asyncio.wait_for(start_marked(bench.manager, refusal, reading, patience_s=2.0), 60) == []
        assert states_by_name(bench) == {"endless": State.LOADING, "next": State.RUNNING, "last": State.RUNNING}
        await bench.manager.stop_all()

    asyncio.run(scenario())
    assert "endless is not ready after 2.0 s" in caplog.text


def test_one_that_is_queued_is_not_waited_for() -> None:
    """A vLLM that never gets ready, one that waits for its GPU, and a llama-server that does not."""

    def planner(request: ModelLoadRequest, port: int) -> LaunchPlan:
        plan = fake_planner("--load-s", 0 if request.model_id == "llama" else 600)(request, port)
        if request.model_id == "llama":
            return plan
        return replace(
            plan,
            engine=replace(plan.engine, kind=EngineKind.VLLM),
            gpus=(PlannedGpu(0, "GPU-0", "RTX 4090"),),
        )

    async def scenario() -> None:
        bench = marked_bench(planner, "endless", "queued", "llama")
        began_s = time.monotonic()
        assert await asyncio.wait_for(start_marked(bench.manager, refusal, reading, patience_s=4.0), 60) == []
        assert states_by_name(bench) == {"endless": State.LOADING, "queued": State.QUEUED, "llama": State.RUNNING}
        assert time.monotonic() - began_s >= 4.0, "the first was given its time"
        await bench.manager.stop_all()

    asyncio.run(scenario())


@pytest.mark.expects_log_errors
def test_a_mistake_over_one_costs_that_one_alone(caplog: pytest.LogCaptureFixture) -> None:
    def planner(request: ModelLoadRequest, port: int) -> LaunchPlan:
        if request.model_id == "strange":
            raise ValueError("nobody thought of this")
        return fake_planner()(request, port)

    async def scenario() -> None:
        bench = marked_bench(planner, "strange", "usual")
        (failure,) = await start_marked(bench.manager, refusal, reading)
        assert str(failure.message).startswith("strange does not start with Launchdeck: ")
        assert states_by_name(bench) == {"usual": State.RUNNING}
        await bench.manager.stop_all()

    asyncio.run(scenario())
    assert "nobody thought of this" in caplog.text


def test_the_list_is_kept_in_order_and_a_broken_one_aside(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "state" / "list.json"
    for name in ("b", "a", "c"):
        StartList(file).mark(name, ModelLoadRequest(Path(f"/models/{name}.gguf"), n_ctx=512), marked=True)
    StartList(file).mark("a", ModelLoadRequest(Path("/models/a.gguf")), marked=False)
    kept = StartList(file)
    assert [(request.model_id, request.n_ctx) for request in kept.requests] == [("b", 512), ("c", 512)]
    assert "a" not in kept
    assert "b" in kept
    assert file.stat().st_mode & 0o777 == 0o600
    file.write_text('{"b": 5')
    assert StartList(file).requests == ()
    assert file.with_name(f"{file.name}.corrupt").read_text() == '{"b": 5'
    assert "kept as list.json.corrupt" in caplog.text
