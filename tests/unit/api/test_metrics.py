"""What Prometheus reads, parsed by the client library's own parser; and the dashboard that shows it."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from fakes import api
from launchdeck.resources import resource

UNITS = ("_bytes", "_ratio", "_celsius", "_watts", "_hertz", "_seconds", "_total", "_info")
WITHOUT_UNIT = {"launchdeck_gpu_up", "launchdeck_replay", "launchdeck_deployment_state"}


async def samples(http: Any) -> dict[str, list[Any]]:
    answer = await http.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=")
    found: dict[str, list[Any]] = {}
    for family in text_string_to_metric_families(answer.text):
        assert family.documentation
        for sample in family.samples:
            found.setdefault(sample.name, []).append(sample)
    return found


def test_gpus_and_deployments() -> None:
    async def scenario() -> None:
        async with api.running() as (bench, http):
            await bench.load(http, model_id='a "quoted" name'.replace(" ", "_"))
            await bench.until(http, 'a_"quoted"_name', "running")
            found = await samples(http)
            used = {s.labels["vendor"]: s.value for s in found["launchdeck_gpu_memory_used_bytes"]}
            assert used["nvidia"] == pytest.approx(11.4 * 1024**3, rel=1e-6)
            assert found["launchdeck_gpu_utilization_ratio"][0].value == pytest.approx(0.43)
            states = {s.labels["state"]: s.value for s in found["launchdeck_deployment_state"]}
            assert states.pop("running") == 1
            assert set(states.values()) == {0}
            assert {s.labels["model"] for s in found["launchdeck_deployment_state"]} == {'a_"quoted"_name'}
            assert found["launchdeck_deployment_loading_seconds"][0].value > 0
            predicted = {s.labels["kind"]: s.value for s in found["launchdeck_deployment_predicted_bytes"]}
            (deployment,) = bench.manager.deployments
            assert predicted["weights"] == deployment.plan.estimate.host.weights_bytes
            for name in found:
                assert name.startswith("launchdeck_")
                assert name in WITHOUT_UNIT or name.endswith(UNITS), name

    api.run(scenario)


def test_the_dashboard_asks_only_for_what_there_is() -> None:
    dashboard = json.loads(resource("grafana-dashboard.json").read_text(encoding="utf-8"))
    asked = set(re.findall(r"launchdeck_\w+", json.dumps([panel["targets"] for panel in dashboard["panels"]])))

    async def scenario() -> None:
        async with api.running() as (bench, http):
            await bench.load(http, model_id="tiny")
            entry = await bench.until(http, "tiny", "running")
            (deployment,) = bench.manager.deployments
            bench.manager.observe(bench.planner.inventory)  # type: ignore[arg-type]
            assert entry
            text = (await http.get("/metrics")).text
            described = set(re.findall(r"# TYPE (\w+)", text))
            assert asked <= described
            assert deployment.plan.model_id == "tiny"

    api.run(scenario)
    assert len(asked) > 8
