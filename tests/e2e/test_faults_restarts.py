"""Models that fail are started again where that is wanted and may help. Fault 10."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from fakes.serving import Bench, alive, fake_planner, no_process_left, until_async
from launchdeck.domain.deployment import Restart, State
from launchdeck.domain.errors import Cause

if TYPE_CHECKING:
    from launchdeck.domain.deployment import Deployment
    from launchdeck.domain.plan import LaunchPlan
    from launchdeck.domain.request import ModelLoadRequest

__all__ = ["no_process_left"]
pytestmark = pytest.mark.timeout(180)

QUICK = {"restart": "on failure", "restart_pause_s": 0.1}


def announced(bench: Bench) -> list[Restart]:
    """The restarts as they are told, each once."""
    seen: list[Restart] = []

    def note(deployment: Deployment) -> None:
        if deployment.restart is not None and (not seen or seen[-1].number != deployment.restart.number):
            seen.append(deployment.restart)

    bench.manager.subscribe(note)
    return seen


def starts(bench: Bench) -> list[float]:
    """When it was started, each time (monotonic seconds)."""
    seen: list[float] = []
    before: list[State] = [State.QUEUED]

    def note(deployment: Deployment) -> None:
        if deployment.state is State.STARTING and before[-1] is not State.STARTING:
            seen.append(time.monotonic())
        before.append(deployment.state)

    bench.manager.subscribe(note)
    return seen


def test_fault_10_a_model_that_always_fails_is_given_up_after_five_restarts() -> None:
    async def scenario() -> None:
        said = [part for number in range(60) for part in ("--say", f"line {number}")]
        bench = Bench("--no-listen", *said, "--exit-code", 3, **QUICK)
        restarts, started_s = announced(bench), starts(bench)
        failed = await bench.until_state(await bench.load(), State.FAILED)
        assert [(restart.number, restart.most) for restart in restarts] == [(n, 5) for n in range(1, 6)]
        assert bench.history.states[failed.id].count(State.STARTING) == 6
        pauses_s = [later - earlier for earlier, later in pairwise(started_s)]
        assert all(pause_s >= 0.1 * 2**number for number, pause_s in enumerate(pauses_s)), pauses_s
        assert "exit status 3" in str(failed.failure)
        assert failed.failure.evidence == tuple(f"line {number}" for number in range(10, 60))
        assert failed.restart is None
        assert bench.manager.log(failed.id).lines_since(0)[1].count("line 59") == 6

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("switches", "settings", "cause"),
    [
        (("--say", "ggml: CUDA error: out of memory", "--exit-code", 1), QUICK, Cause.OUT_OF_MEMORY),
        (("--say", "error: invalid argument: --nova", "--exit-code", 1), QUICK, Cause.START_FAILED),
        (("--exit-code", 1), QUICK | {"restart": "never"}, Cause.START_FAILED),
    ],
)
def test_fault_10_what_would_fail_again_is_not_restarted(
    switches: tuple[object, ...], settings: dict[str, object], cause: Cause
) -> None:
    async def scenario() -> None:
        bench = Bench("--no-listen", *switches, **settings)
        failed = await bench.until_state(await bench.load(), State.FAILED)
        assert failed.failure is not None
        assert failed.failure.cause is cause
        assert bench.history.states[failed.id].count(State.STARTING) == 1

    asyncio.run(scenario())


def test_fault_10_a_missing_program_is_not_restarted(launchdeck_home: Path) -> None:
    def planner(request: ModelLoadRequest, port: int) -> LaunchPlan:
        return replace(fake_planner()(request, port), argv=(str(launchdeck_home / "llama-server"),))

    async def scenario() -> None:
        bench = Bench(planner=planner, **QUICK)
        failed = await bench.until_state(await bench.load(), State.FAILED)
        assert bench.history.states[failed.id] == [State.STARTING, State.FAILED]

    asyncio.run(scenario())


def test_a_model_that_dies_while_running_runs_again_under_its_id_key_and_port() -> None:
    async def scenario() -> None:
        bench = Bench(**QUICK)
        before = await bench.running()
        key = bench.manager.api_key(before.id)
        os.kill(before.pids[0], signal.SIGKILL)
        await until_async(lambda: bench.get(before.id).state is not State.RUNNING)
        after = await bench.until_state(before.id, State.RUNNING)
        assert (after.plan.port, bench.manager.api_key(after.id)) == (before.plan.port, key)
        assert not set(after.pids) & set(before.pids)
        await bench.manager.stop(after.id)

    asyncio.run(scenario())


def test_an_adopted_model_is_restarted_as_well() -> None:
    async def scenario() -> None:
        first = Bench()
        running = await first.running()
        await first.manager.close(keep=True)
        second = Bench(**QUICK)
        await second.manager.adopt()
        os.kill(running.pids[0], signal.SIGKILL)
        await until_async(lambda: second.get(running.id).state is not State.RUNNING)
        again = await second.until_state(running.id, State.RUNNING)
        assert second.manager.api_key(again.id) == first.manager.api_key(running.id)
        await second.manager.stop(again.id)

    asyncio.run(scenario())


def test_a_stop_ends_the_pause_at_once() -> None:
    async def scenario() -> None:
        bench = Bench(restart="on failure", restart_pause_s=60)
        running = await bench.running()
        os.kill(running.pids[0], signal.SIGKILL)
        waiting = await bench.until_state(running.id, State.QUEUED)
        assert waiting.pids == ()
        await until_async(lambda: bench.get(running.id).restart == Restart(1, 5, 60))
        await asyncio.wait_for(bench.manager.stop(running.id), 5)
        assert bench.get(running.id).state is State.STOPPED
        assert bench.get(running.id).failure is None
        assert not alive(running.pids)
        assert bench.manager.suggest_port() == running.plan.port

    asyncio.run(scenario())


@pytest.mark.parametrize("state", [State.QUEUED, State.STARTING])
def test_a_quit_that_keeps_the_models_does_not_lose_one_that_is_just_being_restarted(state: State) -> None:
    """In its pause it has failed, as the next start says; once it is being started, it serves on."""

    async def scenario() -> None:
        first = Bench(restart="on failure", restart_pause_s=1.0, when_app_dies="stop")
        running = await first.running()
        os.kill(running.pids[0], signal.SIGKILL)
        await first.until_state(running.id, State.QUEUED)
        await first.until_state(running.id, state)
        await asyncio.wait_for(first.manager.close(keep=True), 10)
        second = Bench()
        await second.manager.adopt()
        assert [d.id for d in second.manager.deployments] == [running.id]
        if state is State.STARTING:
            await second.until_state(running.id, State.RUNNING)
            assert second.manager.api_key(running.id) == first.manager.api_key(running.id)
        else:
            assert second.get(running.id).state is State.FAILED
        await second.manager.close(keep=False)

    asyncio.run(scenario())
