"""A manager, real shims and a fake server as the engine: what is promised from load to stop."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from fakes import samples
from fakes.serving import Bench, alive, fake_command, fake_planner, free_port, no_process_left, until_async
from launchdeck.domain.deployment import State
from launchdeck.domain.errors import Cause, Failure, LaunchdeckError
from launchdeck.domain.gpu import GpuProcess
from launchdeck.domain.plan import LaunchPlan
from launchdeck.domain.request import ModelLoadRequest
from launchdeck.domain.text import Message
from launchdeck.serving.lifecycle import Event, next_state
from launchdeck.serving.shim_log import segments
from launchdeck.settings.paths import Paths

if TYPE_CHECKING:
    from launchdeck.domain.deployment import Deployment

__all__ = ["no_process_left"]
pytestmark = pytest.mark.timeout(180)

LOADED = [State.STARTING, State.LOADING, State.RUNNING]


def answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as response:
            return response.status == 200
    except (OSError, urllib.error.URLError):
        return False


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


def test_load_returns_at_once_while_the_model_starts() -> None:
    async def scenario() -> None:
        bench = Bench("--load-s", 600)
        deployment_id = await bench.load()
        assert bench.get(deployment_id).state is State.STARTING
        await bench.until_state(deployment_id, State.LOADING)
        await bench.manager.stop(deployment_id)
        assert bench.history.states[deployment_id] == [*LOADED[:2], State.STOPPING, State.STOPPED]

    asyncio.run(scenario())


def test_a_stop_right_after_the_load_is_heard() -> None:
    async def scenario() -> None:
        bench = Bench()
        deployment_id = await bench.load()
        await bench.manager.stop(deployment_id)
        assert bench.get(deployment_id).state is State.STOPPED
        assert State.RUNNING not in bench.history.states[deployment_id]

    asyncio.run(scenario())


def test_stopped_means_that_stubborn_workers_are_gone_too() -> None:
    async def scenario() -> None:
        bench = Bench("--ignore-term", "--workers", 2, "--stubborn-workers", stop_grace_s=0.3)
        running = await bench.running()
        await until_async(lambda: len(bench.get(running.id).pids) == 3)
        pids = bench.get(running.id).pids
        await bench.manager.stop(running.id)
        assert not alive(pids)
        assert bench.get(running.id).exit.signal == signal.SIGKILL

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("switches", "said"),
    [
        (("--exit-code", 7), "7"),
        (("--die-of", 11), "SIGSEGV"),
        (("--die-of", 9), "memory"),
        (("--say", "error: unknown model architecture: 'nova'", "--exit-code", 1), "nova"),
    ],
)
def test_an_engine_that_ends_unasked_has_failed_and_says_why(switches: tuple[object, ...], said: str) -> None:
    async def scenario() -> None:
        bench = Bench("--no-listen", "--say", "last words", *switches)
        failed = await bench.until_state(await bench.load(), State.FAILED)
        assert said in str(failed.failure)
        assert failed.failure.cause is not Cause.PORT_TAKEN
        assert "last words" in bench.manager.log(failed.id).lines_since(0)[1]
        assert failed.ended_at_s is not None
        bench.manager.dismiss(failed.id)
        assert bench.manager.deployments == ()

    asyncio.run(scenario())


def test_an_engine_that_dies_while_running_takes_its_workers_along() -> None:
    async def scenario() -> None:
        bench = Bench("--workers", 2)
        running = await bench.running()
        await until_async(lambda: len(bench.get(running.id).pids) == 3)
        pids = bench.get(running.id).pids
        os.kill(pids[0], signal.SIGKILL)
        failed = await bench.until_state(running.id, State.FAILED)
        assert failed.exit.signal == signal.SIGKILL
        assert not alive(pids)

    asyncio.run(scenario())


def test_an_engine_that_is_not_there_is_named(launchdeck_home: Path) -> None:
    missing = str(launchdeck_home / "llama-server")

    def planner(request: ModelLoadRequest, port: int) -> LaunchPlan:
        return replace(fake_planner()(request, port), argv=(missing, "--port", str(port)))

    async def scenario() -> None:
        bench = Bench(planner=planner)
        failed = await bench.until_state(await bench.load(), State.FAILED)
        assert failed.failure.cause is Cause.START_FAILED
        assert missing in str(failed.failure)

    asyncio.run(scenario())


def test_a_shim_that_is_killed_leaves_nothing_behind() -> None:
    async def scenario() -> None:
        bench = Bench("--workers", 2, "--stubborn-workers")
        running = await bench.running()
        await until_async(lambda: len(bench.get(running.id).pids) == 3)
        pids = bench.get(running.id).pids
        os.kill(shim_of(pids[0]), signal.SIGKILL)
        failed = await bench.until_state(running.id, State.FAILED)
        assert failed.failure.cause is Cause.SUPERVISOR_LOST
        assert not alive(pids)

    asyncio.run(scenario())


def shim_of(engine: int) -> int:
    return int(Path(f"/proc/{engine}/stat").read_text().rpartition(")")[2].split()[1])


def test_silence_while_loading_is_a_stall() -> None:
    async def scenario() -> None:
        bench = Bench("--load-s", 600, stall_timeout_s=1.0)
        deployment_id = await bench.load()
        failed = await bench.until_state(deployment_id, State.FAILED)
        assert failed.failure.cause is Cause.STALLED
        assert bench.history.states[deployment_id] == [*LOADED[:2], State.STOPPING, State.FAILED]

    asyncio.run(scenario())


def test_output_while_loading_extends_the_patience_up_to_the_cap() -> None:
    async def scenario() -> None:
        bench = Bench("--load-s", 600, "--chatter", stall_timeout_s=1.0, load_timeout_s=4.0)
        began_s = time.monotonic()
        failed = await bench.until_state(await bench.load(), State.FAILED)
        assert time.monotonic() - began_s >= 4.0
        assert "longer than 4 s" in str(failed.failure)

    asyncio.run(scenario())


def test_a_model_that_hangs_is_unresponsive_until_it_answers() -> None:
    async def scenario() -> None:
        bench = Bench()
        running = await bench.running()
        os.kill(running.pids[0], signal.SIGSTOP)
        await bench.until_state(running.id, State.UNRESPONSIVE)
        os.kill(running.pids[0], signal.SIGCONT)
        await bench.until_state(running.id, State.RUNNING)
        os.kill(running.pids[0], signal.SIGSTOP)
        await bench.until_state(running.id, State.UNRESPONSIVE)
        await bench.manager.stop(running.id)
        assert bench.get(running.id).state is State.STOPPED

    asyncio.run(scenario())


def test_a_model_that_is_too_busy_to_answer_but_writes_is_not_called_hanging() -> None:
    async def scenario() -> None:
        bench = Bench("--chatter", "--deaf-after", 1)
        running = await bench.running()
        await asyncio.sleep(6)
        assert bench.get(running.id).state is State.RUNNING
        await bench.manager.stop(running.id)

    asyncio.run(scenario())


# Ports


def test_a_port_that_the_engine_cannot_bind_leads_to_the_next() -> None:
    async def scenario() -> None:
        first = free_port()
        bench = Bench("--refuse-bind", first, first_port=first, last_port=65535)
        running = await bench.running()
        assert running.plan.port > first
        assert answers(running.plan.port)
        assert str(running.plan.port) in running.plan.argv
        states = bench.history.states[running.id]
        assert states[-1] is State.RUNNING
        assert states.count(State.RUNNING) == 1
        await bench.manager.stop(running.id)

    asyncio.run(scenario())


def thief(port: int) -> subprocess.Popen[bytes]:
    """Another program that serves on this port, sharing it with whoever allows that."""
    command = [*fake_command("--reuse-port"), "--port", str(port)]
    environ = {name: value for name, value in os.environ.items() if name != "LAUNCHDECK_HOME"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, env=environ)
    assert b"listening" in process.stdout.readline()
    return process


@pytest.mark.parametrize("switches", [("--reuse-port",), ("--no-listen",), ()])
def test_an_answer_on_a_stolen_port_is_not_taken_for_ours(switches: tuple[str, ...]) -> None:
    """Stolen after it was found free: the plan is made in between."""
    thieves: list[subprocess.Popen[bytes]] = []

    def planner(request: ModelLoadRequest, port: int) -> LaunchPlan:
        if not thieves:
            thieves.append(thief(port))
            return fake_planner(*switches)(request, port)
        return fake_planner()(request, port)

    async def scenario() -> None:
        bench = Bench(planner=planner, last_port=65535)
        deployment_id = await bench.load()
        stolen = bench.get(deployment_id).plan.port
        running = await bench.until_state(deployment_id, State.RUNNING)
        assert running.plan.port != stolen
        assert bench.history.states[deployment_id].count(State.RUNNING) == 1
        await bench.manager.stop(deployment_id)

    asyncio.run(scenario())
    assert answers(int(thieves[0].args[-1])), "the other program was left alone"
    thieves[0].kill()
    thieves[0].communicate()


def test_when_every_port_is_stolen_the_load_fails_after_three() -> None:
    async def scenario() -> None:
        bench = Bench("--say", "couldn't bind HTTP server socket", "--exit-code", 1, "--no-listen", last_port=65535)
        failed = await bench.until_state(await bench.load(), State.FAILED)
        assert failed.failure.cause is Cause.PORT_TAKEN
        log = bench.manager.log(failed.id).lines_since(0)[1]
        assert log.count("couldn't bind HTTP server socket") == 3

    asyncio.run(scenario())


def test_no_port_left_is_refused_and_nothing_starts() -> None:
    async def scenario() -> None:
        bench = Bench()
        first = await bench.load()
        assert bench.manager.suggest_port() is None
        with pytest.raises(LaunchdeckError, match=r"No available ports \(max 1 models reached\)"):
            await bench.load()
        assert len(bench.manager.deployments) == 1
        await bench.manager.stop(first)
        again = await bench.running()
        await bench.manager.stop(again.id)

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


def test_an_unknown_deployment_is_said_to_be_unknown() -> None:
    bench = Bench()
    with pytest.raises(LaunchdeckError, match="no deployment x"):
        asyncio.run(bench.manager.stop("x"))
    with pytest.raises(LaunchdeckError, match="no deployment x"):
        bench.manager.log("x")


# Keys, logs, measurements


@pytest.mark.parametrize("has_keys", [True, False])
def test_a_key_of_its_own_reaches_the_engine_and_no_file(
    launchdeck_home: Path, monkeypatch: pytest.MonkeyPatch, has_keys: bool
) -> None:
    monkeypatch.setenv("LLAMA_API_KEY", "inherited-canary")
    monkeypatch.setenv("HF_TOKEN", "hub-canary-0123456789")

    async def scenario() -> None:
        bench = Bench("--say-env", "LLAMA_API_KEY", "--say-env", "HF_TOKEN", model_api_keys=has_keys)
        running = await bench.running()
        key = bench.manager.api_key(running.id)
        log = await bench.lines(running.id, 2)
        assert log[:2] == [f"LLAMA_API_KEY={'***' if has_keys else None}", "HF_TOKEN=***"]
        environ = Path(f"/proc/{running.pids[0]}/environ").read_bytes().split(b"\0")
        keys = [entry for entry in environ if entry.startswith(b"LLAMA_API_KEY=")]
        assert keys == ([f"LLAMA_API_KEY={key}".encode()] if has_keys else [])
        assert (key is not None) is has_keys
        canaries = [b"hub-canary-0123456789", *([key.encode()] if key else [])]
        for pid in (running.pids[0], shim_of(running.pids[0])):
            assert not any(canary in Path(f"/proc/{pid}/cmdline").read_bytes() for canary in canaries)
        await bench.manager.stop(running.id)
        for file in launchdeck_home.rglob("*"):
            assert not file.is_file() or not any(canary in file.read_bytes() for canary in canaries), file

    asyncio.run(scenario())


def test_any_bytes_may_be_written() -> None:
    raw = "한국어\n".encode() + b"\xff\xfe\r 10 %\r 20 %\n\x1b[31mred\x1b[0m\n" + b"x" * 10_000 + b"\n"

    async def scenario() -> None:
        bench = Bench("--raw", raw.hex())
        running = await bench.running()
        lines = await bench.lines(running.id, 5)
        assert lines[:3] == ["한국어", " 20 %", "red"]
        assert lines[3].endswith("[5904 characters cut]")
        await bench.manager.stop(running.id)

    asyncio.run(scenario())


def test_a_flood_leaves_the_application_alive() -> None:
    async def scenario() -> None:
        bench = Bench("--flood-mib", 200, log_limit_mib=4)
        deployment_id = await bench.load()
        await bench.until_state(deployment_id, State.RUNNING)
        assert sum(size for _, size in segments(str(Paths.resolve().records / deployment_id))) <= 4 * 1024 * 1024
        await until_async(
            lambda: any("bytes dropped]" in line for line in bench.manager.log(deployment_id).tail(20000))
        )
        await bench.manager.stop(deployment_id)

    asyncio.run(scenario())


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


def test_a_storm_of_calls_makes_only_legal_transitions() -> None:
    legal = {(state, result) for state in State for event in Event if (result := follow(state, event)) is not None}
    dice = random.Random(5)

    async def scenario() -> None:
        bench = Bench("--load-s", 0.1, last_port=65535)
        stops: list[asyncio.Task[None]] = []
        for _ in range(15):
            deployment_id = await bench.load()
            if dice.random() < 0.7:
                await asyncio.sleep(dice.choice([0, 0.02, 0.2]))
                stops += [asyncio.create_task(bench.manager.stop(deployment_id)) for _ in range(2)]
        await asyncio.gather(*stops)
        await bench.manager.stop_all()
        for states in bench.history.states.values():
            assert all(step in legal for step in pairwise(states)), states
            assert states[-1] is State.STOPPED

    asyncio.run(scenario())


def follow(state: State, event: Event) -> State | None:
    try:
        return next_state(state, event)
    except ValueError:
        return None


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
    code = "import sys; sys.path.insert(0, sys.argv[1]); import launchdeck.serving.shim; print(*sys.modules)"
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
