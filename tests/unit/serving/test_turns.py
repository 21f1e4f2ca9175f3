"""Two starts of vLLM on one GPU come one after the other; all others do not wait."""

from __future__ import annotations

import asyncio
import logging
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fakes.samples import two_gpus
from fakes.serving import Bench, Planner, fake_planner, is_legal, until_async
from launchdeck.api.documents import deployment_document
from launchdeck.domain.deployment import Deployment, State
from launchdeck.domain.errors import Cause, Failure, LaunchdeckError
from launchdeck.domain.plan import EngineKind, LaunchPlan, PlannedGpu
from launchdeck.domain.request import ModelLoadRequest
from launchdeck.domain.text import Message
from launchdeck.serving.lifecycle import Event
from launchdeck.serving.turns import why_not_yet

GPUS = tuple(PlannedGpu(place, f"GPU-{place}", "RTX 4090") for place in range(3))
DEMO = ModelLoadRequest(Path("/models/demo.gguf"))


def deployment(
    name: str, state: State, *gpus: int, kind: EngineKind = EngineKind.VLLM, waits: bool = False, at_s: float = 1.0
) -> Deployment:
    plan = fake_planner()(replace(DEMO, model_id=name), 8001)
    plan = replace(plan, engine=replace(plan.engine, kind=kind), gpus=tuple(GPUS[place] for place in gpus))
    return Deployment(name, plan, state, at_s, queued_because=Message("later") if waits else None)


NEW = deployment("new", State.QUEUED, 0, 1, at_s=9.0)


@pytest.mark.parametrize(
    ("other", "has_to_wait"),
    [
        (deployment("a", State.STARTING, 1), True),
        (deployment("a", State.LOADING, 0), True),
        (deployment("a", State.STOPPING, 0), True),
        (deployment("a", State.QUEUED, 0, waits=True), True),
        (deployment("a", State.QUEUED, 0, waits=True, at_s=10.0), False),
        (deployment("a", State.QUEUED, 0), False),  # the pause before a restart
        (deployment("a", State.RUNNING, 0), False),
        (deployment("a", State.UNRESPONSIVE, 0), False),
        (deployment("a", State.FAILED, 0), False),
        (deployment("a", State.LOADING, 2), False),
        (deployment("a", State.LOADING), False),
        (deployment("a", State.LOADING, 0, kind=EngineKind.LLAMA_SERVER), False),
        (replace(NEW, state=State.LOADING), False),  # itself
    ],
)
def test_what_a_start_of_vllm_waits_for(other: Deployment, has_to_wait: bool) -> None:
    assert (why_not_yet(NEW, (other,)) is not None) is has_to_wait
    llama = replace(NEW, plan=replace(NEW.plan, engine=replace(NEW.plan.engine, kind=EngineKind.LLAMA_SERVER)))
    assert why_not_yet(llama, (other,)) is None


def test_the_reason_names_the_model_and_the_gpu() -> None:
    reason = why_not_yet(NEW, (deployment("qwen3-8b", State.LOADING, 1, 2),))
    assert str(reason) == (
        "waits until qwen3-8b has started on GPU 1: two vLLM starts on one GPU would measure each other"
    )


def vllm_planner(*switches: object, slow: str = "first") -> Planner:
    """All on one GPU; the one that is `slow` loads until it is stopped."""

    def plan(request: ModelLoadRequest, port: int) -> LaunchPlan:
        load_s = 600 if request.model_id == slow else 0
        usual = fake_planner(*switches, "--load-s", load_s)(request, port)
        return replace(usual, engine=replace(usual.engine, kind=EngineKind.VLLM), gpus=GPUS[:1])

    return plan


class ReadingBench(Bench):
    """With readings of the GPUs, as an application has them."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"last_port": 65535} | options)
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        while True:
            self.manager.observe(replace(two_gpus(), sampled_at_s=time.time()))
            await asyncio.sleep(0.05)

    async def end(self) -> None:
        self._reading.cancel()
        await self.manager.stop_all()


def scenario(play: Callable[[ReadingBench], Any], **options: Any) -> None:
    async def run() -> None:
        bench = ReadingBench(**{"planner": vllm_planner()} | options)
        try:
            await play(bench)
        finally:
            await bench.end()
        assert all(is_legal(states) for states in bench.history.states.values())

    asyncio.run(run())


async def first_and_second(bench: Bench) -> tuple[str, str]:
    first = await bench.load(model_id="first")
    await bench.until_state(first, State.LOADING)
    return first, await bench.load(model_id="second")


def test_the_second_waits_until_the_first_is_gone_and_says_so() -> None:
    async def play(bench: ReadingBench) -> None:
        first, second = await first_and_second(bench)
        queued = bench.get(second)
        assert (queued.state, queued.pids) == (State.QUEUED, ())
        document = deployment_document(queued)
        assert (document["state"], document["status"]) == ("queued", "loading")
        assert "first has started on GPU 0" in document["queued_because"]
        assert queued.plan.port != bench.get(first).plan.port
        with pytest.raises(LaunchdeckError, match="second is deployed already"):
            await bench.load(model_id="second")
        await bench.manager.stop(first)
        running = await bench.until_state(second, State.RUNNING)
        assert running.queued_because is None
        assert deployment_document(running)["queued_because"] is None
        assert bench.history.states[second][:2] == [State.QUEUED, State.STARTING]

    scenario(play)


def test_those_that_wait_start_in_their_order_once_the_one_before_is_ready() -> None:
    async def play(bench: ReadingBench) -> None:
        ids = [await bench.load(model_id=name) for name in ("a", "b", "c")]
        assert [bench.get(key).state for key in ids] == [State.STARTING, State.QUEUED, State.QUEUED]
        for key in ids:
            await bench.until_state(key, State.RUNNING)
        ready = [bench.get(key).ready_at_s for key in ids]
        assert ready == sorted(ready)

    scenario(play, planner=vllm_planner(slow="none"))


def test_a_failed_one_holds_nobody_up() -> None:
    usual = vllm_planner(slow="none")

    def planner(request: ModelLoadRequest, port: int) -> LaunchPlan:
        if request.model_id != "first":
            return usual(request, port)
        return vllm_planner("--exit-code", 3)(request, port)

    async def play(bench: ReadingBench) -> None:
        first = await bench.load(model_id="first")
        second = await bench.load(model_id="second")
        assert bench.get(second).state is State.QUEUED
        await bench.until_state(second, State.RUNNING)
        assert bench.get(first).state is State.FAILED

    scenario(play, planner=planner)


def test_one_that_waits_is_stopped_at_once_and_gives_its_port_back() -> None:
    async def play(bench: ReadingBench) -> None:
        first, second = await first_and_second(bench)
        await asyncio.wait_for(bench.manager.stop(second), 5)
        ended = bench.get(second)
        assert (ended.state, ended.failure, ended.queued_because) == (State.STOPPED, None, None)
        assert bench.history.states[second] == [State.QUEUED, State.STOPPING, State.STOPPED]
        third = await bench.load(model_id="second")
        assert bench.get(third).plan.port == ended.plan.port
        assert bench.get(first).state is State.LOADING

    scenario(play)


def test_it_is_planned_anew_and_what_the_plan_refuses_is_its_failure() -> None:
    usual = vllm_planner()
    asked: list[str | None] = []

    def planner(request: ModelLoadRequest, port: int) -> LaunchPlan:
        asked.append(request.model_id)
        if request.model_id == "second" and asked.count("second") > 1:
            raise LaunchdeckError.of(Cause.OUT_OF_MEMORY, Message("It does not fit any more."))
        return usual(request, port)

    async def play(bench: ReadingBench) -> None:
        first, second = await first_and_second(bench)
        third = await bench.load(model_id="third")
        await bench.manager.stop(first)
        await until_async(lambda: not bench.get(second).state.is_live)
        failed = bench.get(second)
        assert failed.state is State.FAILED
        assert str(failed.failure) == "It does not fit any more."
        await bench.until_state(third, State.RUNNING)

    scenario(play, planner=planner, restart="on failure")


def refusing_from_the_second_plan_on() -> Callable[[object], Failure | None]:
    plans = []

    def only_once(plan: object) -> Failure | None:
        plans.append(plan)
        return Failure(Cause.OUT_OF_MEMORY, Message("Not now.")) if len(plans) > 1 else None

    return only_once


def test_what_was_queued_is_planned_anew_though_its_turn_comes_at_once() -> None:
    """The one before is ready after this one was queued, and before it has looked again."""
    only_once = refusing_from_the_second_plan_on()

    async def play(bench: ReadingBench) -> None:
        first = await bench.load(model_id="first")
        await bench.until_state(first, State.LOADING)
        queued = await bench.manager.load(replace(DEMO, model_id="second"), only_if=only_once)
        assert queued.queued_because is not None
        bench.manager._find(first).change(Event.READY)  # no `await` lies between
        await until_async(lambda: not bench.get(queued.id).state.is_live)
        assert str(bench.get(queued.id).failure) == "Not now."

    scenario(play)


def test_the_condition_of_a_launch_holds_for_its_new_plan() -> None:
    only_once = refusing_from_the_second_plan_on()

    async def play(bench: ReadingBench) -> None:
        first = await bench.load(model_id="first")
        queued = await bench.manager.load(replace(DEMO, model_id="second"), only_if=only_once)
        await bench.manager.stop(first)
        await until_async(lambda: not bench.get(queued.id).state.is_live)
        assert str(bench.get(queued.id).failure) == "Not now."

    scenario(play)


def test_a_quit_that_keeps_the_models_forgets_one_that_waits(caplog: pytest.LogCaptureFixture) -> None:
    async def play(bench: ReadingBench) -> None:
        with caplog.at_level(logging.WARNING):
            first, _second = await first_and_second(bench)
            await asyncio.wait_for(bench.manager.close(keep=True), 10)
        assert "second was still queued and is not started" in caplog.text
        again = Bench(planner=vllm_planner(), last_port=65535)
        await again.manager.adopt()
        assert [d.id for d in again.manager.deployments] == [first]
        late = await again.load(model_id="late")
        assert again.get(late).state is State.QUEUED  # the one that was taken over still loads
        await again.manager.stop_all()

    scenario(play)


KILLED_HOST = """
import asyncio, os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from fakes.serving import Bench
from launchdeck.domain.deployment import State
from unit.serving.test_turns import first_and_second, vllm_planner

async def main():
    bench = Bench(planner=vllm_planner(), last_port=65535)
    await first_and_second(bench)
    await bench.manager.stop(await bench.load(model_id="stopped"))
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


def test_what_was_queued_when_the_application_was_killed_is_told_by_the_next_one() -> None:
    killed = subprocess.run([sys.executable, "-c", KILLED_HOST, str(Path(__file__).parents[2])], check=False)
    assert killed.returncode == -signal.SIGKILL

    async def play() -> None:
        bench = Bench(planner=vllm_planner(), last_port=65535)
        assert await bench.manager.adopt() == []
        first, second = bench.manager.deployments
        assert (first.plan.model_id, first.state) == ("first", State.LOADING)
        assert (second.plan.model_id, second.state) == ("second", State.FAILED)
        assert str(second.failure).startswith("second was not started, because Launchdeck ended before")
        assert deployment_document(second)["error"]["message"].startswith("second was not started")
        again = await bench.manager.restart(second.id)
        assert again.queued_because is not None
        await bench.manager.close(keep=False)
        late = Bench()
        await late.manager.adopt()
        assert late.manager.deployments == (), "once is enough"

    asyncio.run(play())


def test_without_readings_it_starts_all_the_same(caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        bench = Bench(planner=vllm_planner(), last_port=65535, sampling_interval_s=1.0)
        first, second = await first_and_second(bench)
        await bench.manager.stop(first)
        await bench.until_state(second, State.RUNNING)
        await bench.manager.stop_all()

    asyncio.run(run())
    assert "were not read for 3.0 s" in caplog.text
