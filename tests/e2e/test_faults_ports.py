"""Ports that others have or take. Faults 17 and 18."""

from __future__ import annotations

import asyncio
import os
import subprocess

import pytest

from fakes.serving import (
    Bench,
    answers,
    fake_command,
    fake_planner,
    free_port,
    no_process_left,
)
from launchdeck.domain.deployment import State
from launchdeck.domain.errors import Cause, LaunchdeckError
from launchdeck.domain.plan import LaunchPlan
from launchdeck.domain.request import ModelLoadRequest

__all__ = ["no_process_left"]
pytestmark = pytest.mark.timeout(180)


def thief(port: int) -> subprocess.Popen[bytes]:
    """Another program that serves on this port, sharing it with whoever allows that."""
    command = [*fake_command("--reuse-port"), "--port", str(port)]
    environ = {name: value for name, value in os.environ.items() if name != "LAUNCHDECK_HOME"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, env=environ)
    assert b"listening" in process.stdout.readline()
    return process


def test_fault_17_a_port_that_the_engine_cannot_bind_leads_to_the_next() -> None:
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


@pytest.mark.parametrize("switches", [("--reuse-port",), ("--no-listen",), ()])
def test_fault_17_an_answer_on_a_stolen_port_is_not_taken_for_ours(switches: tuple[str, ...]) -> None:
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


def test_fault_17_when_every_port_is_stolen_the_load_fails_after_three() -> None:
    async def scenario() -> None:
        bench = Bench("--say", "couldn't bind HTTP server socket", "--exit-code", 1, "--no-listen", last_port=65535)
        failed = await bench.until_state(await bench.load(), State.FAILED)
        assert failed.failure.cause is Cause.PORT_TAKEN
        log = bench.manager.log(failed.id).lines_since(0)[1]
        assert log.count("couldn't bind HTTP server socket") == 3

    asyncio.run(scenario())


def test_fault_18_no_port_left_is_refused_and_nothing_starts() -> None:
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


def test_fault_17_who_took_the_port_is_named() -> None:
    thieves: list[subprocess.Popen[bytes]] = []

    def planner(request: ModelLoadRequest, port: int) -> LaunchPlan:
        thieves.append(thief(port))
        return fake_planner()(request, port)

    async def scenario() -> None:
        bench = Bench(planner=planner, last_port=65535)
        failed = await bench.until_state(await bench.load(), State.FAILED)
        assert failed.failure.cause is Cause.PORT_TAKEN
        assert f"(process {thieves[-1].pid}) took port {failed.plan.port}" in str(failed.failure)
        (fix,) = failed.failure.fixes
        assert str(fix.label) == f"Use port {bench.manager.suggest_port()}"

    asyncio.run(scenario())
    for process in thieves:
        process.kill()
        process.communicate()
