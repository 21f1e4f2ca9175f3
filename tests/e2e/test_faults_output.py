"""Whatever an engine writes, and what must never be written. Faults 19, 20 and 28."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from fakes.serving import (
    Bench,
    no_process_left,
    shim_of,
    until_async,
)
from launchdeck.domain.deployment import State
from launchdeck.serving.shim.log import segments
from launchdeck.settings.paths import Paths

__all__ = ["no_process_left"]
pytestmark = pytest.mark.timeout(180)


def test_fault_19_a_flood_leaves_the_application_alive() -> None:
    async def scenario() -> None:
        bench = Bench("--flood-mib", 200, log_limit_mib=4)
        deployment_id = await bench.load()
        await bench.until_state(deployment_id, State.RUNNING)
        assert sum(size for _, size in segments(str(Paths.resolve().records / deployment_id))) <= 4 * 1024 * 1024
        await until_async(
            lambda: any("bytes dropped]" in line for line in bench.manager.log(deployment_id).tail(20000))
        )
        await bench.manager.stop(deployment_id)

    asyncio.run(scenario())


def test_fault_20_any_bytes_may_be_written() -> None:
    raw = "한국어\n".encode() + b"\xff\xfe\r 10 %\r 20 %\n\x1b[31mred\x1b[0m\n" + b"x" * 10_000 + b"\n"

    async def scenario() -> None:
        bench = Bench("--raw", raw.hex())
        running = await bench.running()
        lines = await bench.lines(running.id, 5)
        assert lines[:3] == ["한국어", " 20 %", "red"]
        assert lines[3].endswith("[5904 characters cut]")
        await bench.manager.stop(running.id)

    asyncio.run(scenario())


@pytest.mark.parametrize("has_keys", [True, False])
def test_fault_28_a_key_of_its_own_reaches_the_engine_and_no_file(
    launchdeck_home: Path, monkeypatch: pytest.MonkeyPatch, has_keys: bool
) -> None:
    monkeypatch.setenv("LLAMA_API_KEY", "inherited-canary")
    monkeypatch.setenv("HF_TOKEN", "hub-canary-0123456789")

    async def scenario() -> None:
        bench = Bench("--say-env", "LLAMA_API_KEY", "--say-env", "HF_TOKEN", model_api_keys=has_keys)
        running = await bench.running()
        key = bench.manager.api_key(running.id)
        log = await bench.lines(running.id, 2)
        assert log[:2] == [f"LLAMA_API_KEY={'***' if has_keys else None}", "HF_TOKEN=***"]
        environ = Path(f"/proc/{running.pids[0]}/environ").read_bytes().split(b"\0")
        keys = [entry for entry in environ if entry.startswith(b"LLAMA_API_KEY=")]
        assert keys == ([f"LLAMA_API_KEY={key}".encode()] if has_keys else [])
        assert (key is not None) is has_keys
        canaries = [b"hub-canary-0123456789", *([key.encode()] if key else [])]
        for pid in (running.pids[0], shim_of(running.pids[0])):
            assert not any(canary in Path(f"/proc/{pid}/cmdline").read_bytes() for canary in canaries)
        await bench.manager.stop(running.id)
        for file in launchdeck_home.rglob("*"):
            assert not file.is_file() or not any(canary in file.read_bytes() for canary in canaries), file

    asyncio.run(scenario())
