"""The application is killed, or application and shims: what serves on, is adopted, is swept. Faults 1 and 3."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time

import pytest

from fakes.serving import Application, Bench, alive, kill, no_process_left, until
from launchdeck.domain.deployment import State
from launchdeck.domain.errors import Cause
from launchdeck.serving import direct
from launchdeck.serving.records.records import read_records
from launchdeck.settings.paths import Paths

__all__ = ["no_process_left"]
pytestmark = pytest.mark.timeout(180)


def test_fault_01_models_survive_the_death_of_the_application_and_are_adopted() -> None:
    application = Application(3, "keep", "--say", "first line", "--chatter")
    application.kill()
    assert alive(application.pids) == application.pids

    async def scenario() -> None:
        bench = Bench()
        await bench.manager.adopt()
        adopted = bench.manager.deployments
        assert [(d.id, d.plan.port, list(d.pids), bench.manager.api_key(d.id)) for d in adopted] == [
            (key, port, pids, api_key) for key, port, pids, api_key in application.models
        ]
        assert [d.state for d in adopted] == [State.RUNNING] * 3
        assert all(d.adopted and d.ready_at_s is not None and d.ready_at_s < time.time() for d in adopted)
        for deployment in adopted:
            lines = await bench.lines(deployment.id, 4)
            assert lines[0] == "first line"
        await bench.manager.stop_all()
        assert not alive(application.pids)
        assert [d.state for d in bench.manager.deployments] == [State.STOPPED] * 3

    asyncio.run(scenario())


def test_fault_01_models_end_with_the_application_where_that_is_wanted() -> None:
    application = Application(2, "stop", "--workers", 1)
    application.kill()
    until(lambda: not alive(application.pids))

    async def scenario() -> None:
        bench = Bench()
        await bench.manager.adopt()
        assert [d.state for d in bench.manager.deployments] == [State.STOPPED] * 2

    asyncio.run(scenario())


def test_fault_03_what_application_and_shim_left_is_cleaned_up_by_the_next_start() -> None:
    application = Application(1, "keep", "--workers", 2, "--stubborn-workers")
    until(lambda: len(read_records(Paths.resolve().records)[0].status.tree) == 3)
    (record,) = read_records(Paths.resolve().records)
    tree = [pid for pid, _ in record.status.tree]
    kill(application.process.pid)
    kill(record.status.shim[0])
    application.kill()
    assert len(alive(tree)) >= 2, "the workers had left the engine's session"

    async def scenario() -> None:
        bench = Bench()
        await bench.manager.adopt()
        (lost,) = bench.manager.deployments
        assert (lost.state, lost.failure.cause) == (State.FAILED, Cause.SUPERVISOR_LOST)
        assert not alive(tree)

    asyncio.run(scenario())


def test_fault_03_another_process_with_a_recorded_pid_is_left_alone() -> None:
    application = Application(1, "stop")
    application.kill()
    until(lambda: not alive(application.pids))
    (path,) = Paths.resolve().records.glob("*/record.json")
    until(lambda: json.loads(path.read_text())["ended_at_s"] is not None)
    bystander = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
    facts = json.loads(path.read_text())
    impostors = {name: [bystander.pid, 1] for name in ("shim", "engine")} | {"tree": [[bystander.pid, 1]]}
    path.write_text(json.dumps(facts | impostors | {"ended_at_s": None}))

    async def scenario() -> None:
        bench = Bench()
        await bench.manager.adopt()
        assert bench.manager.deployments[0].state is State.FAILED

    asyncio.run(scenario())
    assert bystander.poll() is None
    bystander.kill()
    bystander.wait()


def test_fault_01_no_model_is_lost_or_orphaned_however_often_the_application_is_killed() -> None:
    first = Application(3, "keep", "--chatter")
    first.kill()
    for _ in range(5):
        again = Application(3, "keep", "--chatter")
        again.kill()
        assert again.models == first.models
    asyncio.run(direct.stop_all(Paths.resolve()))
    assert not alive(first.pids)
