"""Shims, engines and workers that die or will not die. Faults 2, 4 to 6, 8, 9 and 11."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from fakes.serving import (
    Bench,
    alive,
    fake_planner,
    is_legal,
    no_process_left,
    shim_of,
    until_async,
)
from launchdeck.domain.deployment import State
from launchdeck.domain.errors import Cause
from launchdeck.domain.plan import LaunchPlan
from launchdeck.domain.request import ModelLoadRequest
from launchdeck.settings.paths import Paths

__all__ = ["no_process_left"]
pytestmark = pytest.mark.timeout(180)

LOADED = [State.STARTING, State.LOADING, State.RUNNING]


def test_fault_02_a_shim_that_is_killed_leaves_nothing_behind() -> None:
    async def scenario() -> None:
        bench = Bench("--workers", 2, "--stubborn-workers")
        running = await bench.running()
        await until_async(lambda: len(bench.get(running.id).pids) == 3)
        pids = bench.get(running.id).pids
        os.kill(shim_of(pids[0]), signal.SIGKILL)
        failed = await bench.until_state(running.id, State.FAILED)
        assert failed.failure.cause is Cause.SUPERVISOR_LOST
        assert not alive(pids)
        assert not list(Paths.resolve().runtime.glob("*.sock"))

    asyncio.run(scenario())


def test_fault_04_stopped_means_that_stubborn_workers_are_gone_too() -> None:
    async def scenario() -> None:
        bench = Bench("--ignore-term", "--workers", 2, "--stubborn-workers", stop_grace_s=0.3)
        running = await bench.running()
        await until_async(lambda: len(bench.get(running.id).pids) == 3)
        pids = bench.get(running.id).pids
        await bench.manager.stop(running.id)
        assert not alive(pids)
        assert bench.get(running.id).exit.signal == signal.SIGKILL

    asyncio.run(scenario())


def test_fault_05_an_engine_that_dies_while_running_takes_its_workers_along() -> None:
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


def test_fault_06_a_model_is_stopped_while_it_loads() -> None:
    async def scenario() -> None:
        bench = Bench("--load-s", 600)
        deployment_id = await bench.load()
        assert bench.get(deployment_id).state is State.STARTING
        await bench.until_state(deployment_id, State.LOADING)
        await bench.manager.stop(deployment_id)
        assert bench.history.states[deployment_id] == [*LOADED[:2], State.STOPPING, State.STOPPED]

    asyncio.run(scenario())


def test_fault_06_a_stop_right_after_the_load_is_heard() -> None:
    async def scenario() -> None:
        bench = Bench()
        deployment_id = await bench.load()
        await bench.manager.stop(deployment_id)
        assert bench.get(deployment_id).state is State.STOPPED
        assert State.RUNNING not in bench.history.states[deployment_id]

    asyncio.run(scenario())


def test_fault_08_a_storm_of_calls_makes_only_legal_transitions() -> None:
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
            assert is_legal(states), states
            assert states[-1] is State.STOPPED

    asyncio.run(scenario())


def test_fault_09_an_engine_that_is_not_there_is_named(launchdeck_home: Path) -> None:
    missing = str(launchdeck_home / "llama-server")

    def planner(request: ModelLoadRequest, port: int) -> LaunchPlan:
        return replace(fake_planner()(request, port), argv=(missing, "--port", str(port)))

    async def scenario() -> None:
        bench = Bench(planner=planner)
        failed = await bench.until_state(await bench.load(), State.FAILED)
        assert failed.failure.cause is Cause.START_FAILED
        assert missing in str(failed.failure)

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
def test_fault_11_an_engine_that_ends_unasked_has_failed_and_says_why(switches: tuple[object, ...], said: str) -> None:
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


def test_fault_11_the_last_words_count_though_their_line_never_ended() -> None:
    said = "error: unknown model architecture: 'nova'"

    async def scenario() -> None:
        bench = Bench("--no-listen", "--raw", said.encode().hex(), "--exit-code", 1)
        failed = await bench.until_state(await bench.load(), State.FAILED)
        assert "nova" in str(failed.failure.message)
        assert bench.manager.log(failed.id).lines_since(0)[1] == [said]
        bench.manager.dismiss(failed.id)

    asyncio.run(scenario())
