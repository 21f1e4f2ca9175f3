"""A manager, real shims and a fake server as the engine: what is promised from load to stop."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from fakes import samples
from fakes.serving import (
    Bench,
    alive,
    answers,
    fake_planner,
    no_process_left,
    shim_of,
    until,
    until_async,
)
from launchdeck.domain.deployment import State
from launchdeck.domain.errors import Cause, Failure, LaunchdeckError
from launchdeck.domain.gpu import GpuProcess, GpuState, PlannedGpu
from launchdeck.domain.plan import LaunchPlan
from launchdeck.domain.request import ModelLoadRequest
from launchdeck.domain.text import Message

if TYPE_CHECKING:
    from launchdeck.domain.deployment import Deployment

__all__ = ["no_process_left"]
pytestmark = pytest.mark.timeout(180)

LOADED = [State.STARTING, State.LOADING, State.RUNNING]


def test_a_model_is_loaded_and_stopped() -> None:
    async def scenario() -> None:
        bench = Bench("--load-s", 0.3)
        running = await bench.running()
        assert answers(running.plan.port)
        assert running.ready_at_s is not None
        assert len(running.pids) == 1
        await bench.manager.stop(running.id)
        stopped = bench.get(running.id)
        assert bench.history.states[running.id] == [*LOADED, State.STOPPING, State.STOPPED]
        assert stopped.exit is not None
        assert stopped.exit.signal == signal.SIGTERM
        assert (stopped.failure, stopped.pids) == (None, ())
        assert not alive(running.pids)
        assert bench.manager.suggest_port() == running.plan.port

    asyncio.run(scenario())


# Plans


@pytest.mark.parametrize("how", ["raises", "is blocked"])
def test_a_plan_that_cannot_be_started_starts_nothing(how: str) -> None:
    failure = Failure(Cause.ENGINE_MISSING, Message("No engine."))

    def planner(request: ModelLoadRequest, port: int) -> LaunchPlan:
        if how == "raises":
            raise LaunchdeckError(failure)
        return replace(fake_planner()(request, port), blocker=failure)

    async def scenario() -> None:
        bench = Bench(planner=planner)
        with pytest.raises(LaunchdeckError, match="No engine"):
            await bench.load()
        assert bench.manager.deployments == ()
        assert bench.manager.suggest_port() == bench.settings.first_port

    asyncio.run(scenario())


def test_two_models_never_share_a_name() -> None:
    async def scenario() -> None:
        bench = Bench(last_port=65535)
        await asyncio.gather(bench.running(), bench.running(), bench.running())
        assert [d.plan.model_id for d in bench.manager.deployments] == ["demo", "demo-2", "demo-3"]
        with pytest.raises(LaunchdeckError, match="A model named demo is deployed already"):
            await bench.load(model_id="demo")
        await bench.manager.stop_all()
        third = await bench.running(model_id="demo")
        await bench.manager.close(keep=False)
        assert third.plan.model_id == "demo"
        assert bench.manager.deployments == ()

    asyncio.run(scenario())


def test_a_restart_is_the_same_request_in_a_new_deployment() -> None:
    async def scenario() -> None:
        bench = Bench()
        running = await bench.running(n_ctx=1234)
        again = await bench.manager.restart(running.id)
        assert again.id != running.id
        assert again.plan.request == running.plan.request
        assert [d.id for d in bench.manager.deployments] == [again.id]
        await bench.until_state(again.id, State.RUNNING)
        with pytest.raises(LaunchdeckError, match="still runs"):
            bench.manager.dismiss(again.id)
        await bench.manager.stop(again.id)

    asyncio.run(scenario())


def test_a_restart_keeps_the_port_and_name_though_others_ask_for_them() -> None:
    """One port for all: whoever comes in between would have it."""

    async def scenario() -> None:
        bench = Bench("--ignore-term", stop_grace_s=1.0)
        running = await bench.running()
        restarting = asyncio.create_task(bench.manager.restart(running.id))
        await until_async(lambda: bench.get(running.id).state is State.STOPPING)
        with pytest.raises(LaunchdeckError, match="No available ports"):
            await bench.load()
        bench.settings = replace(bench.settings, last_port=bench.settings.last_port + 5)
        with pytest.raises(LaunchdeckError, match="named demo is deployed already"):
            await bench.load(model_id="demo")
        with pytest.raises(LaunchdeckError, match="named demo is deployed already"):
            await bench.manager.restart(running.id)
        again = await restarting
        assert (again.plan.port, again.plan.model_id) == (running.plan.port, "demo")
        await bench.until_state(again.id, State.RUNNING)
        await bench.manager.stop(again.id)
        assert bench.manager.suggest_port() == running.plan.port

    asyncio.run(scenario())


def test_a_restart_of_a_model_that_ends_meanwhile_starts_it() -> None:
    async def scenario() -> None:
        plain, requests = fake_planner(), []

        def plan(request: ModelLoadRequest, port: int) -> LaunchPlan:
            requests.append(request)
            if len(requests) == 2:
                os.kill(first.pids[0], signal.SIGKILL)
                until(lambda: not bench.get(first.id).state.is_live)
            return plain(request, port)

        bench = Bench(planner=plan)
        first = await bench.running()
        again = await bench.manager.restart(first.id)
        await bench.until_state(again.id, State.RUNNING)
        assert [d.id for d in bench.manager.deployments] == [again.id]
        await bench.manager.stop(again.id)

    asyncio.run(scenario())


def test_an_unknown_deployment_is_said_to_be_unknown() -> None:
    bench = Bench()
    with pytest.raises(LaunchdeckError, match="no deployment x"):
        asyncio.run(bench.manager.stop("x"))
    with pytest.raises(LaunchdeckError, match="no deployment x"):
        bench.manager.log("x")


# Keys, logs, measurements


def test_what_the_engine_says_is_found() -> None:
    said = [
        "load_tensors: offloaded 20/31 layers to GPU",
        "load_tensors:          CPU model buffer size =    92.10 MiB",
    ]

    async def scenario() -> None:
        bench = Bench(*(part for line in said for part in ("--say", line)))
        running = await bench.running()
        await until_async(lambda: bench.get(running.id).applied.layers_offloaded == 20)
        assert bench.get(running.id).applied.layers_total == 31
        await bench.manager.stop(running.id)

    asyncio.run(scenario())


def test_what_the_engine_said_is_known_as_soon_as_it_runs() -> None:
    """A program that asks once, at "running", finds all of it."""
    said = [f"load_tensors: offloaded {n}/31 layers to GPU" for n in (19, 20)]
    seen: list[Deployment] = []

    async def scenario() -> None:
        bench = Bench("--say", "first", "--say-last", said[0], "--say-last", said[1])
        bench.manager.subscribe(seen.append)
        running = await bench.running()
        await bench.manager.close(keep=True)
        again = Bench()
        await again.manager.adopt()
        assert again.get(running.id).applied.layers_offloaded == 20
        await again.manager.stop(running.id)

    asyncio.run(scenario())
    first = next(deployment for deployment in seen if deployment.state is State.RUNNING)
    assert first.applied.layers_offloaded == 20


def test_an_engine_that_never_says_it_is_ready_runs_all_the_same() -> None:
    async def scenario() -> None:
        bench = Bench("--silent")
        running = await bench.running()
        await bench.manager.stop(running.id)

    asyncio.run(scenario())


def test_memory_is_counted_for_the_whole_tree() -> None:
    async def scenario() -> None:
        bench = Bench("--workers", 1)
        running = await bench.running()
        await until_async(lambda: len(bench.get(running.id).pids) == 2)
        engine, worker = bench.get(running.id).pids
        used = (GpuProcess(engine, "a", 100), GpuProcess(worker, "b", 20), GpuProcess(1, "c", 7))
        reading = samples.two_gpus().gpus[0]
        reading = replace(reading, sample=replace(reading.sample, processes=used))
        bench.manager.observe(samples.inventory(reading))
        assert bench.get(running.id).vram_bytes == 120
        assert bench.get(running.id).rss_bytes > 5_000_000
        bench.manager.observe(samples.two_gpus())
        assert bench.get(running.id).vram_bytes is None
        await bench.manager.stop(running.id)

    asyncio.run(scenario())


@pytest.mark.parametrize("how", ["lost", "not listed"])
def test_fault_25_a_gpu_lost_under_a_model_is_told_as_such(how: str) -> None:
    """What still serves is left alone; an engine that goes down then has lost its GPU."""
    both = samples.two_gpus()
    first, second = both.gpus
    gone = replace(first, sample=replace(first.sample, state=GpuState.LOST, processes=()))
    without = samples.inventory(*((gone, second) if how == "lost" else (second,)))

    async def scenario() -> None:
        bench = Bench("--say", "last words")
        running = await bench.running(gpu_uuids=("GPU-0",), known_gpus=(PlannedGpu.of(first.gpu),))
        bench.manager.observe(both)
        assert bench.get(running.id).lost_gpus == ()
        told: list[Deployment] = []
        unsubscribe = bench.manager.subscribe(told.append)
        bench.manager.observe(without)
        unsubscribe()
        assert len(told) == 1, "one reading is one change"
        assert bench.get(running.id).lost_gpus == ("GPU-0",)
        assert bench.get(running.id).state is State.RUNNING
        bench.manager.observe(both)
        assert bench.get(running.id).lost_gpus == ()
        told: list[Deployment] = []
        unsubscribe = bench.manager.subscribe(told.append)
        bench.manager.observe(without)
        unsubscribe()
        assert len(told) == 1, "one reading is one change"
        os.kill(running.pids[0], signal.SIGABRT)
        failed = await bench.until_state(running.id, State.FAILED)
        assert failed.failure.cause is Cause.GPU_LOST
        name = "GPU 0" if how == "lost" else "RTX 4090"
        assert f"{name} was lost" in str(failed.failure)
        assert "SIGABRT" in failed.failure.evidence[0]
        assert "last words" in failed.failure.evidence

    asyncio.run(scenario())


def test_an_adopted_model_is_shown_where_its_gpu_stands_now() -> None:
    both = samples.two_gpus()
    second = both.gpus[1]
    alone = samples.inventory(replace(second, gpu=replace(second.gpu, index=0)))

    async def scenario() -> None:
        bench = Bench()
        running = await bench.running(gpu_uuids=("GPU-1",), known_gpus=(PlannedGpu.of(second.gpu),))
        bench.manager.observe(both)
        (gpu,) = running.plan.gpus
        assert bench.get(running.id).place_of(gpu) == 1
        await bench.manager.close(keep=True)
        again = Bench()
        again.manager.observe(alone)
        assert await again.manager.adopt() == []
        assert (again.get(running.id).place_of(gpu), again.get(running.id).lost_gpus) == (0, ())
        again.manager.observe(samples.inventory(both.gpus[0]))
        assert (again.get(running.id).place_of(gpu), again.get(running.id).lost_gpus) == (None, ("GPU-1",))
        await again.manager.stop(running.id)

    asyncio.run(scenario())


def test_a_listener_that_fails_or_leaves_disturbs_nobody(caplog: pytest.LogCaptureFixture) -> None:
    seen: list[Deployment] = []

    async def scenario() -> None:
        bench = Bench()
        leave = bench.manager.subscribe(seen.append)
        running = await bench.running()
        leave()
        count = len(seen)
        await bench.manager.stop(running.id)
        assert len(seen) == count

    asyncio.run(scenario())
    assert [d.state for d in seen][-1] is State.RUNNING


def test_ports_stay_free_of_our_own_health_checks() -> None:
    """No TIME_WAIT on the engine's port: a plain bind succeeds right after a stop."""

    async def scenario() -> None:
        bench = Bench("--load-s", 0.5)
        running = await bench.running()
        await asyncio.sleep(1)
        await bench.manager.stop(running.id)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", running.plan.port))

    asyncio.run(scenario())


def test_nothing_but_the_standard_library_is_needed_by_a_shim() -> None:
    app = str(Path(sys.modules["launchdeck"].__file__).parents[1])
    code = "import sys; sys.path.insert(0, sys.argv[1]); import launchdeck.serving.shim.main; print(*sys.modules)"
    output = subprocess.run([sys.executable, "-I", "-S", "-c", code, app], capture_output=True, text=True, check=True)
    foreign = {name.partition(".")[0] for name in output.stdout.split()} - set(sys.stdlib_module_names)
    assert foreign == {"launchdeck", "__main__"}


def test_the_real_llama_server(engine_bin: Path, demo_model: Path) -> None:
    def planner(request: ModelLoadRequest, port: int) -> LaunchPlan:
        switches = [
            "--ctx-size",
            "512",
            "--parallel",
            "1",
            "--fit",
            "off",
            "--log-verbosity",
            "4",
            "--host",
            "127.0.0.1",
            "--port",
        ]
        argv = (str(engine_bin / "llama-server"), "--model", str(demo_model), *switches, str(port))
        plan = fake_planner()(request, port)
        return replace(plan, argv=argv, env=(*plan.env, ("LLAMA_SERVER_ROUTER_PORT", "1")))

    async def scenario() -> None:
        bench = Bench(planner=planner, stop_grace_s=60)
        running = await bench.running()
        await until_async(lambda: bench.get(running.id).applied.n_ctx == 512)
        await bench.manager.stop(running.id)
        stopped = bench.get(running.id)
        assert stopped.state is State.STOPPED
        assert stopped.exit.signal is None, "it ended by itself, long before the grace was over"
        again = await bench.running()
        os.kill(shim_of(again.pids[0]), signal.SIGKILL)
        await bench.until_state(again.id, State.FAILED)
        assert not alive(again.pids)

    asyncio.run(scenario())
