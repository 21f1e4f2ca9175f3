"""Engines that are silent, slow or hang. Faults 12 to 15."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path

import pytest

from fakes.serving import (
    Bench,
    no_process_left,
)
from launchdeck.domain.deployment import State
from launchdeck.domain.errors import Cause
from launchdeck.domain.model import ServerType

__all__ = ["no_process_left"]
pytestmark = pytest.mark.timeout(180)

LOADED = [State.STARTING, State.LOADING, State.RUNNING]


def test_fault_12_silence_while_loading_is_a_stall() -> None:
    async def scenario() -> None:
        bench = Bench("--load-s", 600, stall_timeout_s=1.0)
        deployment_id = await bench.load()
        failed = await bench.until_state(deployment_id, State.FAILED)
        assert failed.failure.cause is Cause.STALLED
        assert bench.history.states[deployment_id] == [*LOADED[:2], State.STOPPING, State.FAILED]

    asyncio.run(scenario())


@pytest.mark.parametrize("toil", ["compute", "read"])
def test_fault_12_an_engine_that_works_in_silence_has_not_stalled(toil: str) -> None:
    async def scenario() -> None:
        bench = Bench("--load-s", 8, "--toil", toil, stall_timeout_s=3.0)
        running = await bench.running()
        assert running.ready_at_s - running.created_at_s >= 8
        await bench.manager.stop(running.id)

    asyncio.run(scenario())


def test_fault_12_an_engine_that_works_for_ever_ends_at_the_cap() -> None:
    async def scenario() -> None:
        bench = Bench("--load-s", 600, "--toil", "compute", stall_timeout_s=1.5, load_timeout_s=5.0)
        failed = await bench.until_state(await bench.load(), State.FAILED)
        assert "longer than 5 s" in str(failed.failure)

    asyncio.run(scenario())


def test_fault_13_output_while_loading_extends_the_patience_up_to_the_cap() -> None:
    async def scenario() -> None:
        bench = Bench("--load-s", 600, "--chatter", stall_timeout_s=1.0, load_timeout_s=4.0)
        began_s = time.monotonic()
        failed = await bench.until_state(await bench.load(), State.FAILED)
        assert time.monotonic() - began_s >= 4.0
        assert "longer than 4 s" in str(failed.failure)

    asyncio.run(scenario())


def test_fault_14_a_model_that_hangs_is_unresponsive_until_it_answers() -> None:
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


def test_fault_15_a_model_that_is_too_busy_to_answer_but_writes_is_not_called_hanging() -> None:
    async def scenario() -> None:
        bench = Bench("--chatter", "--deaf-after", 1)
        running = await bench.running()
        await asyncio.sleep(6)
        assert bench.get(running.id).state is State.RUNNING
        await bench.manager.stop(running.id)

    asyncio.run(scenario())


@pytest.mark.parametrize("kind", list(ServerType))
def test_fault_14_a_model_that_answers_health_checks_and_no_question_hangs(
    launchdeck_home: Path, kind: ServerType
) -> None:
    mute = launchdeck_home / "mute"

    async def scenario() -> None:
        bench = Bench("--mute-file", mute, question_interval_s=0.5)
        running = await bench.running(server_type=kind)
        await asyncio.sleep(2)
        assert bench.history.states[running.id] == LOADED
        mute.touch()
        await bench.until_state(running.id, State.UNRESPONSIVE)
        mute.unlink()
        await bench.until_state(running.id, State.RUNNING)
        await bench.manager.stop(running.id)

    asyncio.run(scenario())


def test_fault_15_a_question_that_has_to_wait_is_no_hanging(launchdeck_home: Path) -> None:
    mute = launchdeck_home / "mute"
    mute.touch()

    async def scenario() -> None:
        bench = Bench("--mute-file", mute, "--chatter", question_interval_s=0.5)
        running = await bench.running()
        await asyncio.sleep(3)
        assert bench.history.states[running.id] == LOADED
        await bench.manager.stop(running.id)

    asyncio.run(scenario())
