"""The engine's own log proves on which GPU a model lies; what it says is known at the next plan."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from fakes import llama_server
from fakes.gguf_models import llama
from fakes.samples import gpu, inventory
from fakes.serving import Bench, fake_planner, is_legal
from launchdeck.domain.deployment import State
from launchdeck.domain.errors import Cause
from launchdeck.domain.gpu import GpuType
from launchdeck.domain.plan import LaunchPlan, PlannedGpu
from launchdeck.domain.request import ModelLoadRequest
from launchdeck.engines.find import find_engines
from launchdeck.engines.planner import Planner
from launchdeck.files.later import finish_writing
from launchdeck.settings.paths import Paths
from launchdeck.settings.schema import Settings

LINE = "NVIDIA GeForce RTX 4090 (24576 MiB, 23000 MiB free)"
FIRST, SECOND = "0000:01:00.0", "0000:02:00.0"
SAID = llama_server.used_device("Vulkan0", "NVIDIA GeForce RTX 4090", SECOND, 23000)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return llama(n_ctx=4096).write(tmp_path / "small.gguf")


@pytest.fixture
def planner_of(tmp_path: Path) -> Callable[[str, str], Planner]:
    def planner_of(first: str, second: str) -> Planner:
        """For twins at two places, and an engine whose devices sit there."""
        devices = ((f"Vulkan0: {LINE}", first), (f"Vulkan1: {LINE}", second))
        program = llama_server.install(tmp_path, devices=devices)
        settings = Settings(llama_server_path=str(program))
        planner = Planner(lambda: settings, Paths.resolve())
        planner.inventory = inventory(*(gpu(n, "NVIDIA GeForce RTX 4090", GpuType.NVIDIA, 24, 2) for n in range(2)))
        planner.engines = find_engines(settings, Paths.resolve()).engines[:1]
        return planner

    return planner_of


def bench_of(planner: Planner) -> Bench:
    bench = Bench(planner=planner.plan)
    bench.manager.subscribe(planner.on_deployment)
    return bench


def device_of(plan: LaunchPlan) -> str:
    return plan.argv[plan.argv.index("--device") + 1]


def test_a_model_on_another_gpu_is_stopped_and_the_next_one_is_where_it_belongs(
    model: Path, planner_of: Callable[[str, str], Planner]
) -> None:
    async def scenario() -> None:
        planner = planner_of(SECOND, FIRST)
        bench = bench_of(planner)
        request = ModelLoadRequest(model, gpu_uuids=("GPU-0",))
        first = await bench.manager.load(request)
        assert device_of(first.plan) == "Vulkan0"
        assert "is assumed to be Vulkan0" in str(first.plan.warnings[0])
        failed = await bench.until_state(first.id, State.FAILED)
        assert failed.failure is not None
        assert failed.failure.cause is Cause.START_FAILED
        assert str(failed.failure.message) == (
            f"The engine has placed the model on NVIDIA GeForce RTX 4090 at {SECOND}, "
            f"not on NVIDIA GeForce RTX 4090 at {FIRST}."
        )
        assert State.RUNNING not in bench.history.states[first.id]
        assert is_legal(bench.history.states[first.id])
        assert finish_writing(20)
        for knowing in (planner, planner_of(SECOND, FIRST)):  # this one, and that of another run
            plans = [knowing.plan(replace(request, gpu_uuids=(f"GPU-{place}",)), 8001) for place in range(2)]
            assert [device_of(plan) for plan in plans] == ["Vulkan1", "Vulkan0"]
            assert [plan.warnings for plan in plans] == [(), ()]
        again = await bench.manager.load(request)
        running = await bench.until_state(again.id, State.RUNNING)
        assert running.applied.placed[0].pci_address == FIRST
        await bench.manager.close(keep=False)

    asyncio.run(scenario())


def test_a_model_where_it_was_meant_to_be_turns_an_assumption_into_knowledge(
    model: Path, planner_of: Callable[[str, str], Planner]
) -> None:
    async def scenario() -> None:
        planner = planner_of(FIRST, SECOND)
        bench = bench_of(planner)
        request = ModelLoadRequest(model, gpu_uuids=("GPU-1",))
        first = await bench.manager.load(request)
        assert "assumed" in str(first.plan.warnings[0])
        await bench.until_state(first.id, State.RUNNING)
        for place in range(2):
            plan = planner.plan(replace(request, gpu_uuids=(f"GPU-{place}",)), 8001)
            assert (device_of(plan), plan.warnings) == (f"Vulkan{place}", ())
        await bench.manager.close(keep=False)

    asyncio.run(scenario())


def test_an_adopted_model_that_serves_is_told_of_and_not_stopped(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        def on_vulkan(request: ModelLoadRequest, port: int) -> LaunchPlan:
            return replace(fake_planner("--say", SAID)(request, port), device_names=("Vulkan0",))

        first = Bench(planner=on_vulkan)
        running = await first.running()
        await first.manager.close(keep=True)
        file = Paths.resolve().records / running.id / "record.json"
        record = json.loads(file.read_text())
        meant = PlannedGpu(0, "GPU-0", "NVIDIA GeForce RTX 4090", FIRST)
        record["plan"]["gpus"] = [
            {"index": 0, "uuid": meant.uuid, "name": meant.name, "pci_address": meant.pci_address}
        ]
        file.write_text(json.dumps(record))
        second = Bench(planner=on_vulkan)
        await second.manager.adopt()
        adopted = second.get(running.id)
        assert adopted.state is State.RUNNING
        assert f"at {SECOND}, not on" in str(adopted.plan.warnings[-1])
        assert f"at {SECOND}, not on" in caplog.text
        await second.manager.close(keep=False)

    asyncio.run(scenario())
