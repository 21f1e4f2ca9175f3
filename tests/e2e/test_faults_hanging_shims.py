"""Supervisors that hang: every stop of their models comes to an end, leaves nothing, and says how. Fault 2."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time

import pytest

from e2e.real_application import WITHOUT_WINDOW, application
from fakes.serving import Bench, alive, no_process_left, shim_of, until_async
from launchdeck.domain.deployment import Deployment, State
from launchdeck.domain.errors import Cause
from launchdeck.serving import direct
from launchdeck.serving.records.records import read_records
from launchdeck.serving.shim.processes import identify
from launchdeck.settings.paths import Paths

__all__ = ["no_process_left"]
pytestmark = pytest.mark.timeout(300)

PATIENCE_S = 100.0
"""Ten seconds for an answer, the grace, ten more, and five times that for a machine that is busy."""
FORCED = "stopped by force: the process that supervised it did not answer"


def hang(shim: int) -> None:
    os.kill(shim, signal.SIGSTOP)


async def with_workers(bench: Bench) -> tuple[Deployment, int, list[int]]:
    """A model that runs, its shim, and the processes of both."""
    running = await bench.running()
    await until_async(lambda: len(bench.get(running.id).pids) == 3)
    shim = shim_of(running.pids[0])
    return running, shim, [shim, *bench.get(running.id).pids]


SWITCHES = ("--workers", 2, "--stubborn-workers")


def test_fault_02_a_stop_ends_though_the_supervisor_hangs() -> None:
    async def scenario() -> None:
        bench = Bench(*SWITCHES)
        running, shim, pids = await with_workers(bench)
        hang(shim)
        async with asyncio.timeout(PATIENCE_S):
            ended = await bench.manager.stop(running.id)
        assert ended.state is State.STOPPED
        assert str(ended.ended_how) == FORCED
        assert not alive(pids)
        assert bench.manager.suggest_port() == running.plan.port

    asyncio.run(scenario())


def test_fault_02_a_stop_ends_though_the_supervisor_hangs_after_it_has_answered() -> None:
    async def scenario() -> None:
        bench = Bench("--ignore-term", *SWITCHES, stop_grace_s=3.0)
        running, shim, pids = await with_workers(bench)
        stopping = asyncio.create_task(bench.manager.stop(running.id))
        records = Paths.resolve().records
        await until_async(lambda: read_records(records)[0].status.stop_asked)
        await asyncio.sleep(0.2)
        hang(shim)
        async with asyncio.timeout(PATIENCE_S):
            ended = await stopping
        assert (ended.state, str(ended.ended_how)) == (State.STOPPED, FORCED)
        assert not alive(pids)

    asyncio.run(scenario())


def test_fault_02_a_restart_takes_the_place_of_a_model_whose_supervisor_hangs() -> None:
    async def scenario() -> None:
        bench = Bench(*SWITCHES)
        running, shim, pids = await with_workers(bench)
        hang(shim)
        async with asyncio.timeout(PATIENCE_S):
            started = await bench.manager.restart(running.id)
        assert not alive(pids)
        again = await bench.until_state(started.id, State.RUNNING)
        assert again.plan.port == running.plan.port
        assert [d.id for d in bench.manager.deployments] == [started.id]
        assert (await bench.manager.stop(started.id)).ended_how is None

    asyncio.run(scenario())


def test_fault_12_a_load_that_stalls_fails_though_its_supervisor_hangs() -> None:
    async def scenario() -> None:
        bench = Bench("--load-s", 600, *SWITCHES, stall_timeout_s=2.0)
        deployment_id = await bench.load()
        await until_async(lambda: len(bench.get(deployment_id).pids) == 3)
        pids = bench.get(deployment_id).pids
        shim = shim_of(pids[0])
        hang(shim)
        await until_async(lambda: not bench.get(deployment_id).state.is_live, patience_s=PATIENCE_S)
        failed = bench.get(deployment_id)
        assert (failed.state, failed.failure.cause) == (State.FAILED, Cause.STALLED)
        assert not alive([shim, *pids])

    asyncio.run(scenario())


def test_fault_02_a_supervisor_that_hung_when_it_was_to_be_adopted_does_not_hold_up_the_start() -> None:
    async def scenario() -> None:
        first = Bench(*SWITCHES)
        running, shim, pids = await with_workers(first)
        await first.manager.close(keep=True)
        hang(shim)
        second = Bench()
        async with asyncio.timeout(PATIENCE_S):
            problems = await second.manager.adopt()
            assert "does not answer" in str(problems[0])
            ended = await second.manager.stop(running.id)
        assert (ended.state, str(ended.ended_how)) == (State.STOPPED, FORCED)
        assert not alive(pids)

    asyncio.run(scenario())


@pytest.mark.parametrize("how", ["one", "all"])
def test_fault_02_without_an_application_a_stop_ends_as_well(how: str) -> None:
    async def scenario() -> None:
        bench = Bench(*SWITCHES)
        running, shim, pids = await with_workers(bench)
        await bench.manager.close(keep=True)
        hang(shim)
        notes: list[object] = []
        async with asyncio.timeout(PATIENCE_S):
            if how == "one":
                assert await direct.stop(Paths.resolve(), running.id, tell=notes.append)
            else:
                assert await direct.stop_all(Paths.resolve(), tell=notes.append) == ["demo"]
        assert [str(note) for note in notes] == [f"demo: {FORCED}"]
        assert not alive(pids)
        assert read_records(Paths.resolve().records) == []

    asyncio.run(scenario())


@pytest.mark.parametrize("how", ["one", "all"])
def test_fault_03_without_an_application_a_stop_sweeps_what_a_killed_supervisor_left(how: str) -> None:
    async def scenario() -> None:
        bench = Bench(*SWITCHES)
        running, shim, pids = await with_workers(bench)
        await bench.manager.close(keep=True)
        os.kill(shim, signal.SIGKILL)
        await until_async(lambda: identify(shim) is None)
        assert alive(pids)
        if how == "one":
            assert not await direct.stop(Paths.resolve(), running.id)
        else:
            assert await direct.stop_all(Paths.resolve()) == []
        assert not alive(pids)

    asyncio.run(scenario())


def test_fault_02_unload_and_the_command_line_say_that_it_was_by_force() -> None:
    with application() as app:
        app.start(WITHOUT_WINDOW)
        shims = [app.shim(app.running(name, *SWITCHES)["id"]) for name in ("one", "other")]
        for shim in shims:
            hang(shim)
        began_s = time.monotonic()
        answer = app.http.post("/api/inference/unload", json={"model_id": "one"}, timeout=PATIENCE_S)
        assert answer.json()["note"] == FORCED
        command = [sys.executable, "-m", "launchdeck", "stop", "other"]
        environment = os.environ | {"LAUNCHDECK_HOME": str(app.home)}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=PATIENCE_S)
        assert time.monotonic() - began_s < PATIENCE_S
        assert (done.stdout, done.stderr) == ("Stopped: other\n", f"note: other: {FORCED}\n")
        assert not alive(shims)
