"""What is unloaded over HTTP is forgotten; what ended otherwise is kept until it is removed, up to a number."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from fakes import api
from fakes.cycles import cycles, traces
from fakes.serving import until_async
from launchdeck.domain.deployment import State
from launchdeck.serving import manager as manager_module

CYCLES = 12
WARM = 4
UNLOAD = "/api/inference/unload"


async def unload(http: Any, name: str, status: int = 200) -> dict[str, Any]:
    answer = await http.post(UNLOAD, json={"model_id": name})
    assert answer.status_code == status, answer.text
    document: dict[str, Any] = answer.json()
    return document


async def restarts(http: Any) -> dict[str, float]:
    families = text_string_to_metric_families((await http.get("/metrics")).text)
    (family,) = (family for family in families if family.name == "launchdeck_model_restarts")
    return {sample.labels["model"]: sample.value for sample in family.samples}


def test_what_is_unloaded_is_forgotten_with_its_folder() -> None:
    async def scenario() -> None:
        async with api.running() as (bench, http):
            before = (await http.get("/metrics")).text.count("\n")
            started = await bench.load(http, model_id="one")
            await bench.until(http, "one", "running")
            folder = bench.setup.paths.records / started["id"]
            assert folder.exists()
            assert (await unload(http, "one"))["was_live"]
            assert not folder.exists()
            assert bench.manager.deployments == ()
            assert (await http.get("/metrics")).text.count("\n") == before
            assert (await http.get("/api/inference/logs/one")).status_code == 404
            assert (await unload(http, "one", 404))["cause"] == "not_found"

    api.run(scenario)


def test_who_unloads_the_same_at_the_same_time_is_told_the_same() -> None:
    async def scenario() -> None:
        async with api.running() as (bench, http):
            started = await bench.load(http, model_id="one")
            await bench.until(http, "one", "running")
            answers = await asyncio.gather(unload(http, "one"), unload(http, started["id"]), unload(http, "one"))
            assert {(answer["id"], answer["state"]) for answer in answers} == {(started["id"], "stopped")}
            assert bench.manager.deployments == ()

    api.run(scenario)


def test_what_was_stopped_in_the_window_stays_until_it_is_removed() -> None:
    async def scenario() -> None:
        async with api.running() as (bench, http):
            started = await bench.load(http, model_id="one")
            await bench.until(http, "one", "running")
            await bench.manager.stop(started["id"])
            assert [d.state for d in bench.manager.deployments] == [State.STOPPED]
            assert (await http.get("/api/inference/loading-status")).json() == {"models": []}
            assert (await http.get("/api/inference/logs/one")).status_code == 200
            assert not (await unload(http, "one"))["was_live"]
            assert bench.manager.deployments == ()
            assert not (bench.setup.paths.records / started["id"]).exists()

    api.run(scenario)


def test_so_many_that_have_ended_are_kept_and_no_more(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(manager_module, "MOST_ENDED", 3)

    async def scenario() -> None:
        async with api.running("--exit-code", 1, last_port=65535) as (bench, http):
            forgotten: list[str] = []
            bench.manager.subscribe_forgotten(lambda deployment: forgotten.append(deployment.plan.model_id))
            for number in range(5):
                await bench.load(http, model_id=f"model-{number}")
                await until_async(lambda: all(not d.state.is_live for d in bench.manager.deployments))
            assert [d.plan.model_id for d in bench.manager.deployments] == ["model-2", "model-3", "model-4"]
            assert forgotten == ["model-0", "model-1"]
            kept = {d.id for d in bench.manager.deployments}
            assert {folder.name for folder in bench.setup.paths.records.iterdir()} == kept

    api.run(scenario)
    assert "model-0 (" in caplog.text
    assert "is forgotten with its log: more than 3 have ended" in caplog.text


def test_the_one_that_ended_last_stays_however_long_it_has_lived(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manager_module, "MOST_ENDED", 1)

    async def scenario() -> None:
        async with api.running(last_port=65535) as (bench, http):
            for name in ("old", "young"):
                await bench.load(http, model_id=name)
                await bench.until(http, name, "running")
            for name in ("young", "old"):
                await bench.manager.stop(next(d.id for d in bench.manager.deployments if d.plan.model_id == name))
            assert [d.plan.model_id for d in bench.manager.deployments] == ["old"]
            again = await bench.manager.restart(bench.manager.deployments[0].id)
            assert [d.id for d in bench.manager.deployments] == [again.id]
            await bench.manager.stop(again.id)

    api.run(scenario)


def test_a_restart_is_counted_and_a_new_start_is_none() -> None:
    async def scenario() -> None:
        async with api.running() as (bench, http):
            for _ in range(2):
                await bench.load(http, model_id="one")
                await bench.until(http, "one", "running")
                assert await restarts(http) == {"one": 0}
                await unload(http, "one")
                assert await restarts(http) == {}
            await bench.load(http, model_id="one")
            for count in (1, 2):
                await bench.until(http, "one", "running")
                assert (await http.post("/api/inference/restart", json={"model_id": "one"})).status_code == 202
                assert await restarts(http) == {"one": count}
            assert len(bench.manager.deployments) == 1

    api.run(scenario)


def test_a_restart_goes_on_where_the_old_row_is_removed_meanwhile() -> None:
    async def scenario() -> None:
        async with api.running(last_port=65535) as (bench, http):
            old = await bench.load(http, model_id="one")
            await bench.until(http, "one", "running")
            again, gone = await asyncio.gather(bench.manager.restart(old["id"]), unload(http, old["id"]))
            assert gone["id"] == old["id"]
            assert [d.id for d in bench.manager.deployments] == [again.id]
            await bench.manager.stop(again.id)

    api.run(scenario)


def test_a_restart_after_a_failure_is_counted() -> None:
    async def scenario() -> None:
        settings = {"restart": "on-failure", "restart_pause_s": 1}
        async with api.running("--die-of", 11, "--die-after-s", 0.2, **settings) as (bench, http):
            await bench.load(http, model_id="one")
            await until_async(lambda: bench.manager.deployments[0].restarts >= 1)
            assert (await restarts(http))["one"] == bench.manager.deployments[0].restarts
            await bench.manager.stop(bench.manager.deployments[0].id)

    api.run(scenario)


def test_nothing_stays_of_models_that_come_and_go() -> None:
    """As `bench/bench_cycles.py` does 200 times."""

    async def scenario() -> None:
        async with api.running("--flood-mib", 2, log_limit_mib=1, last_port=65535) as (bench, http):
            before = await traces(bench, http)
            after = [one async for one in cycles(bench, http, CYCLES)]
            warm, end = after[WARM - 1], after[-1]
            async with asyncio.timeout(api.DEADLINE_S):
                while end.more_than(warm):  # a connection that is just being closed has a descriptor still
                    await asyncio.sleep(0.1)
                    end = await traces(bench, http)
            assert (end.folders, end.series) == (before.folders, before.series)
            assert end.deployments <= before.deployments  # those of other tests in this process may go meanwhile
            assert end.logs <= before.logs

    api.run(scenario)
