"""What outlives the application, and how the next one finds it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys

import pytest

from fakes.serving import Application, Bench, alive, kill, no_process_left, shim_of, until, until_async
from launchdeck.domain.deployment import State
from launchdeck.domain.errors import LaunchdeckError
from launchdeck.engines.registry import adapters
from launchdeck.serving import direct
from launchdeck.serving.records.records import read_records
from launchdeck.serving.shim.processes import identify
from launchdeck.settings.paths import Paths

__all__ = ["no_process_left"]
pytestmark = pytest.mark.timeout(180)


def test_fault_03_a_record_of_an_earlier_boot_is_told_as_such_and_accuses_nobody() -> None:
    """Pids and start times begin anew with every boot: another process may have both."""
    application = Application(1, "stop")
    application.kill()
    (path,) = Paths.resolve().records.glob("*/record.json")
    until(lambda: json.loads(path.read_text())["ended_at_s"] is not None)
    bystander = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    same = identify(bystander.pid)
    lost = {"boot_id": "earlier", "ended_at_s": None, "shim": same, "engine": same, "tree": [same]}
    path.write_text(json.dumps(json.loads(path.read_text()) | lost))

    async def scenario() -> None:
        bench = Bench()
        await bench.manager.adopt()
        assert "restarted" in str(bench.manager.deployments[0].failure)
        assert bystander.poll() is None

    try:
        asyncio.run(scenario())
    finally:
        bystander.kill()
        bystander.wait()


def test_a_model_that_died_alone_says_why_at_the_next_start() -> None:
    application = Application(1, "keep", "--say", "last words", "--say", "offloaded 3/4 layers to GPU")
    application.kill()
    kill(application.pids[0])
    (path,) = Paths.resolve().records.glob("*/record.json")
    until(lambda: json.loads(path.read_text())["ended_at_s"] is not None)

    async def scenario() -> None:
        bench = Bench()
        seen = []
        bench.manager.subscribe(seen.append)
        await bench.manager.adopt()
        (failed,) = bench.manager.deployments
        assert (failed.state, failed.exit.signal) == (State.FAILED, signal.SIGKILL)
        assert failed.applied.layers_offloaded == 3
        assert seen == [failed]
        assert bench.manager.log(failed.id).lines_since(0)[1][0] == "last words"
        bench.manager.dismiss(failed.id)
        await Bench().manager.adopt()
        assert not path.parent.exists()

    asyncio.run(scenario())


@pytest.mark.parametrize("policy", ["keep", "stop"])
def test_quit_and_keep_serving(policy: str) -> None:
    """Whatever is to be done when the application dies: this is no death."""

    async def scenario() -> None:
        first = Bench(last_port=65535, when_app_dies=policy)
        running, loading = await first.running(), await first.load()
        await first.manager.close(keep=True)
        await asyncio.sleep(0.3)
        second = Bench(last_port=65535)
        await second.manager.adopt()
        assert [d.id for d in second.manager.deployments] == [running.id, loading]
        await second.until_state(loading, State.RUNNING)
        assert second.get(running.id).ready_at_s == running.ready_at_s
        port = second.manager.suggest_port()
        assert port not in {d.plan.port for d in second.manager.deployments}
        await second.manager.close(keep=False)
        assert second.manager.deployments == ()
        assert not list(Paths.resolve().records.iterdir())

    asyncio.run(scenario())


def test_a_model_that_loads_is_adopted_loading_and_gets_ready() -> None:
    async def scenario() -> None:
        first = Bench("--load-s", 2)
        loading = await first.load()
        await first.until_state(loading, State.LOADING)
        await first.manager.close(keep=True)
        second = Bench()
        await second.manager.adopt()
        assert second.get(loading).state is State.LOADING
        await second.until_state(loading, State.RUNNING)
        await second.manager.stop(loading)

    asyncio.run(scenario())


def test_a_change_of_the_policy_reaches_what_already_runs() -> None:
    async def scenario() -> None:
        bench = Bench(when_app_dies="keep")
        running = await bench.running()
        bench.settings = type(bench.settings)(
            first_port=running.plan.port, last_port=running.plan.port, probe_interval_s=0.2, when_app_dies="stop"
        )
        await asyncio.sleep(2)
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()  # as a death: nobody says good-bye
        await until_async(lambda: not alive(running.pids))

    asyncio.run(scenario())


def hang_one_of_two() -> tuple[Application, int]:
    """An application that is gone, and the shim of the first of its models, which answers nobody."""
    application = Application(2, "keep", "--say", "first line")
    application.kill()
    shim = shim_of(application.pids[0])
    os.kill(shim, signal.SIGSTOP)
    return application, shim


def test_a_supervisor_that_hangs_is_taken_over_as_soon_as_it_answers() -> None:
    application, shim = hang_one_of_two()

    async def scenario() -> None:
        bench = Bench()
        (problem,) = await bench.manager.adopt()
        assert "demo-0 does not answer" in str(problem)
        first, second = bench.manager.deployments
        assert (first.state, second.state) == (State.RUNNING, State.RUNNING)
        assert alive(application.pids) == application.pids
        os.kill(shim, signal.SIGCONT)
        assert (await bench.lines(first.id, 1))[0] == "first line"
        await bench.manager.stop_all()

    asyncio.run(scenario())
    assert not alive(application.pids)


@pytest.mark.parametrize("keep", [True, False])
def test_a_supervisor_that_hangs_hinders_no_quit(keep: bool) -> None:
    application, shim = hang_one_of_two()

    async def scenario() -> None:
        bench = Bench()
        await bench.manager.adopt()
        await bench.manager.close(keep=keep)

    asyncio.run(scenario())
    assert alive([shim, *application.pids]) == ([shim, *application.pids] if keep else [])
    if keep:
        (shown, _) = asyncio.run(direct.status(Paths.resolve(), adapters()))
        assert shown.state is State.RUNNING
        os.kill(shim, signal.SIGCONT)
        asyncio.run(direct.stop_all(Paths.resolve()))


def test_status_logs_and_stop_without_an_application() -> None:
    application = Application(2, "keep", "--say", "first line")
    application.kill()
    paths = Paths.resolve()

    async def scenario() -> None:
        found = await direct.status(paths, adapters())
        assert [(d.plan.model_id, d.state) for d in found] == [("demo-0", State.RUNNING), ("demo-1", State.RUNNING)]
        assert direct.log(paths, "demo-1", adapters()).lines_since(0)[1][0] == "first line"
        await direct.stop(paths, "demo-1")
        assert [d.plan.model_id for d in await direct.status(paths, adapters())] == ["demo-0"]
        with pytest.raises(LaunchdeckError, match="no deployment demo-1"):
            await direct.stop(paths, "demo-1")
        await direct.stop(paths, found[0].id)
        await direct.stop_all(paths)
        assert not alive(application.pids)

    asyncio.run(scenario())


def test_stop_all_without_an_application() -> None:
    application = Application(2, "keep")
    application.kill()
    asyncio.run(direct.stop_all(Paths.resolve()))
    assert not alive(application.pids)


def test_a_stop_from_elsewhere_is_seen_by_the_application() -> None:
    async def scenario() -> None:
        bench = Bench()
        running = await bench.running()
        os.kill(int(read_records(Paths.resolve().records)[0].status.shim[0]), signal.SIGTERM)
        stopped = await bench.until_state(running.id, State.STOPPED)
        assert bench.history.states[running.id][-2:] == [State.STOPPING, State.STOPPED]
        assert stopped.failure is None

    asyncio.run(scenario())
