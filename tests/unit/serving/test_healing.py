"""A record that was damaged while its model lives: nobody says that nothing runs."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from fakes.serving import Bench, alive, free_ports
from launchdeck.domain.deployment import State
from launchdeck.engines.registry import adapters
from launchdeck.serving import direct
from launchdeck.settings.paths import Paths

MORE_THAN_A_LOOK_S = 60.0


def damaged(deployment_id: str) -> Path:
    record = Paths.resolve().records / deployment_id / "record.json"
    record.write_text("{broken")
    return record


@pytest.mark.timeout(MORE_THAN_A_LOOK_S)
def test_without_an_application_it_is_waited_for() -> None:
    async def scenario() -> None:
        bench = Bench()
        deployment = await bench.running()
        await bench.manager.close(keep=True)
        damaged(deployment.id)
        (seen,) = await direct.status(Paths.resolve(), adapters())
        assert (seen.id, seen.state) == (deployment.id, State.RUNNING)
        damaged(deployment.id)
        assert await direct.stop_all(Paths.resolve()) == [deployment.plan.model_id]
        assert not alive(deployment.pids)

    asyncio.run(scenario())


@pytest.mark.timeout(MORE_THAN_A_LOOK_S)
def test_an_application_looks_again_and_takes_it_over() -> None:
    async def scenario() -> None:
        first = Bench()
        deployment = await first.running()
        await first.manager.close(keep=True)
        damaged(deployment.id)
        second = Bench()
        (problem,) = await second.manager.adopt()
        assert "record.json.corrupt" in str(problem)
        while deployment.id not in {d.id for d in second.manager.deployments}:
            await asyncio.sleep(0.1)
        await second.until_state(deployment.id, State.RUNNING)
        await second.manager.close(keep=False)
        assert not alive(deployment.pids)

    asyncio.run(scenario())


@pytest.mark.timeout(MORE_THAN_A_LOOK_S)
def test_only_those_that_live_are_asked_what_they_hold() -> None:
    """And no log is read for it: it may be long, and this is asked again and again."""
    read: list[str] = []
    sys.addaudithook(lambda event, told: read.append(str(told[0])) if event == "open" else None)

    async def scenario() -> None:
        first = free_ports(20).start
        bench = Bench(first_port=first, last_port=first + 1)
        ended, lives = await bench.running(), await bench.running()
        await bench.manager.close(keep=True)
        os.kill(ended.pids[0], signal.SIGKILL)
        while len(await direct.living(Paths.resolve())) > 1:
            await asyncio.sleep(0.1)
        assert (Paths.resolve().records / ended.id).is_dir()
        read.clear()
        (seen,) = await direct.living(Paths.resolve())
        assert (seen.id, seen.state, seen.pids) == (lives.id, State.RUNNING, lives.pids)
        assert seen.own_ram_bytes
        kept = str(Paths.resolve().records)
        assert {Path(file).name for file in read if file.startswith(kept)} == {"record.json"}
        await direct.stop_all(Paths.resolve())
        assert await direct.living(Paths.resolve()) == []

    asyncio.run(scenario())


def test_what_nobody_answers_for_is_not_waited_for() -> None:
    paths = Paths.resolve()
    paths.create()
    (paths.records / "0000000a").mkdir(parents=True)
    (paths.sockets / "0000000a.sock").write_text("no socket")
    assert asyncio.run(asyncio.wait_for(direct.status(paths, adapters()), 2.0)) == []
