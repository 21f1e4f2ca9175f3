"""vLLM from the plan to the last of its processes, by an executable that behaves like it."""

from __future__ import annotations

import asyncio
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fakes.safetensors_writer import write_embedder, write_model
from fakes.samples import gpu, inventory
from fakes.serving import Bench, alive, no_process_left, until_async
from launchdeck.domain.deployment import Deployment, State
from launchdeck.domain.errors import Cause, LaunchdeckError
from launchdeck.domain.gpu import GpuType
from launchdeck.domain.model import ServerType
from launchdeck.domain.plan import EngineInfo, EngineKind
from launchdeck.domain.request import ModelLoadRequest
from launchdeck.engines.planner import Planner
from launchdeck.engines.vllm.find import find_vllm
from launchdeck.serving import client
from launchdeck.settings.schema import Settings

__all__ = ["no_process_left"]
FAKE = Path(__file__).parents[1] / "fakes" / "fake_vllm.py"
QUESTION = ({"role": "user", "content": "What is the capital of France?"},)
PROCESSES = 3  # the API server, the engine core, the worker
GIB = 1 << 30


class Vllm(Bench):
    """A manager whose planner knows two GPUs and the fake vLLM."""

    def __init__(self, **settings: Any) -> None:
        planner = Planner(lambda: Settings(memory_margin_mib=0))
        planner.inventory = inventory(*(gpu(i, "RTX 4090", GpuType.NVIDIA, 24, 1) for i in range(2)))
        planner.engines = (EngineInfo(EngineKind.VLLM, (str(FAKE),), FAKE, "0.32.0", frozenset({GpuType.NVIDIA})),)
        super().__init__(planner=planner.plan, **settings)

    async def deploy(self, path: Path, **request: Any) -> str:
        deployment = await self.manager.load(
            ModelLoadRequest(path, **{"gpu_uuids": ("GPU-0",), "n_ctx": 1024, **request})
        )
        return deployment.id

    async def with_workers(self, deployment_id: str) -> Deployment:
        """As soon as all its processes are known."""
        await until_async(lambda: len(self.get(deployment_id).pids) >= PROCESSES)
        return self.get(deployment_id)


@pytest.fixture
def switches(monkeypatch: pytest.MonkeyPatch) -> Any:
    return lambda text: monkeypatch.setenv("FAKE_VLLM_SWITCHES", text)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_model(tmp_path / "tiny")


def test_from_the_plan_to_the_last_process(model: Path, switches: Any) -> None:
    switches("--load-s 1")

    async def run() -> None:
        vllm = Vllm()
        seen: list[tuple[State, float | None]] = []
        vllm.manager.subscribe(lambda deployment: seen.append((deployment.state, deployment.progress)))
        key = await vllm.deploy(model, gpu_uuids=("GPU-0", "GPU-1"), n_parallel=3)
        running = await vllm.until_state(key, State.RUNNING)
        await until_async(lambda: vllm.get(key).applied.max_concurrency is not None)
        applied = vllm.get(key).applied
        assert (applied.kv_tokens, applied.n_ctx, applied.max_concurrency) == (3072, 1024, 3.0)
        assert running.plan.device_names == applied.devices == ("TP0", "TP1")
        assert applied.device_bytes("TP1", "weights") == int(1.5 * GIB)
        loading = [progress for state, progress in seen if state is State.LOADING and progress is not None]
        assert loading == sorted(loading)
        assert len(set(loading)) >= 2
        pids = (await vllm.with_workers(key)).pids
        secret = vllm.manager.api_key(key)
        chunks = [chunk async for chunk in client.chat(running.plan.url, secret, "tiny", QUESTION)]
        assert "".join(chunk.text for chunk in chunks) == "Paris"
        with pytest.raises(LaunchdeckError):
            await client.embed(running.plan.url, secret, "tiny", ["a"])
        await vllm.manager.stop(key)
        assert vllm.get(key).state is State.STOPPED
        assert alive(pids) == []
        await vllm.manager.close(keep=False)

    asyncio.run(run())


def test_an_embedding_model(tmp_path: Path) -> None:
    folder = write_embedder(tmp_path / "minilm")

    async def run() -> None:
        vllm = Vllm()
        key = await vllm.deploy(folder, server_type=ServerType.EMBEDDING, n_ctx=128)
        running = await vllm.until_state(key, State.RUNNING)
        result = await client.embed(running.plan.url, vllm.manager.api_key(key), "minilm", ["one", "three"])
        assert result.vectors == ((3.0, 1.0), (5.0, 1.0))
        await vllm.manager.stop(key)
        await vllm.manager.close(keep=False)

    asyncio.run(run())


def test_a_stop_while_it_loads_ends_workers_that_would_not(model: Path, switches: Any) -> None:
    switches("--load-s 60 --stubborn")

    async def run() -> None:
        vllm = Vllm(stop_grace_s=0.5)
        key = await vllm.deploy(model)
        pids = (await vllm.with_workers(key)).pids
        await vllm.manager.stop(key)
        assert alive(pids) == []
        assert State.RUNNING not in vllm.history.states[key]
        assert vllm.get(key).state is State.STOPPED
        await vllm.manager.close(keep=False)

    asyncio.run(run())


def test_workers_do_not_outlive_an_api_server_that_was_killed(model: Path) -> None:
    async def run() -> None:
        vllm = Vllm()
        key = await vllm.deploy(model)
        await vllm.until_state(key, State.RUNNING)
        pids = (await vllm.with_workers(key)).pids
        os.kill(pids[0], signal.SIGKILL)
        failed = await vllm.until_state(key, State.FAILED)
        assert "SIGKILL" in str(failed.failure)
        assert alive(pids) == []
        await vllm.manager.close(keep=False)

    asyncio.run(run())


def test_a_start_that_fails_names_the_earlier_cause_and_offers_a_way(model: Path, switches: Any) -> None:
    switches("--fail context")

    async def run() -> None:
        vllm = Vllm()
        failed = await vllm.until_state(await vllm.deploy(model), State.FAILED)
        assert failed.failure.cause is Cause.OUT_OF_MEMORY
        assert "6.20 GiB" in str(failed.failure)
        assert dict(failed.failure.fixes[0].changes) == {"n_ctx": 896}
        await vllm.manager.close(keep=False)

    asyncio.run(run())


def test_the_fake_is_found_as_a_vllm(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    (tmp_path / "vllm").symlink_to(FAKE)
    engines, problems = find_vllm("")
    assert problems == []
    assert replace(engines[0], gpu_types=frozenset()).version == "0.32.0"
