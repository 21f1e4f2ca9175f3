"""Server-sent events: numbers, heartbeat, what was missed, and readers that do not read."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import socket
from collections.abc import AsyncIterator
from typing import Any

import httpx
import psutil
import pytest

from conftest import skip_or_fail
from fakes import api
from fakes.samples import two_gpus
from launchdeck.api.streams import HEARTBEAT, QUEUE_EVENTS, Channel, EventStream

SLOW_READERS = 10


@contextlib.asynccontextmanager
async def reading(http: httpx.AsyncClient, path: str, **headers: str) -> AsyncIterator[AsyncIterator[tuple[str, Any]]]:
    """The events of a stream as (identifier, document)."""

    async def parsed() -> AsyncIterator[tuple[str, Any]]:
        event_id = ""
        async for line in answer.aiter_lines():
            if line.startswith("id: "):
                event_id = line[4:]
            elif line.startswith("data: "):
                yield event_id, json.loads(line[6:])

    async with http.stream("GET", path, headers=headers) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
        yield parsed()


async def take(events: AsyncIterator[tuple[str, Any]], count: int) -> list[tuple[str, Any]]:
    async with asyncio.timeout(api.DEADLINE_S):
        return [await anext(events) for _ in range(count)]


async def parts_of(stream: AsyncIterator[bytes], count: int) -> list[bytes]:
    async with asyncio.timeout(api.DEADLINE_S):
        return [await anext(stream) for _ in range(count)]


def test_one_event_a_sample_and_what_was_missed() -> None:
    async def scenario() -> None:
        async with api.running() as (bench, http):
            bench.backend.on_inventory(two_gpus())
            async with reading(http, "/api/management/gpus/stream") as events:
                ((first, document),) = await take(events, 1)
                assert document["total"] == 2
                for _ in range(3):
                    bench.backend.on_inventory(two_gpus())
                seen = [event_id for event_id, _ in await take(events, 3)]
            assert len({first, *seen}) == 4
            async with reading(http, "/api/management/gpus/stream", **{"Last-Event-ID": seen[0]}) as events:
                assert [event_id for event_id, _ in await take(events, 2)] == seen[1:]
            async with reading(http, "/api/management/gpus/stream", **{"Last-Event-ID": "0-1"}) as events:
                assert [event_id for event_id, _ in await take(events, 1)] == seen[2:]

    api.run(scenario)


def test_the_status_comes_at_once_and_at_every_change() -> None:
    async def scenario() -> None:
        async with api.running("--load-s", 0.5) as (bench, http):
            async with reading(http, "/api/inference/loading-status/stream") as events:
                assert [document for _, document in await take(events, 1)] == [{"models": []}]
                await bench.load(http, model_id="tiny")
                states = []
                async with asyncio.timeout(api.DEADLINE_S):
                    async for _, document in events:
                        states.append(document["models"][0]["state"])
                        if states[-1] == "running":
                            break
            assert states[0] in {"queued", "starting", "loading"}

    api.run(scenario)


def test_every_change_of_state_is_an_event() -> None:
    async def scenario() -> None:
        async with api.running("--load-s", 0.3) as (bench, http):
            async with reading(http, "/api/events") as events:
                await bench.load(http, model_id="tiny")
                await bench.until(http, "tiny", "running")
                await http.post("/api/inference/unload", json={"model_id": "tiny"})
                seen = await take(events, 5)
            states = [document["state"] for _, document in seen]
            assert states == ["starting", "loading", "running", "stopping", "stopped"]
            assert {document["model_id"] for _, document in seen} == {"tiny"}
            async with reading(http, "/api/events", **{"Last-Event-ID": seen[-3][0]}) as events:
                again = await take(events, 2)
            assert again == seen[-2:]

    api.run(scenario)


def test_a_log_can_be_followed_until_the_model_ends() -> None:
    async def scenario() -> None:
        async with api.running("--say", "one", "--say", "two", "--chatter") as (bench, http):
            await bench.load(http, model_id="tiny")
            await bench.until(http, "tiny", "running")
            lines: list[str] = []
            async with reading(http, "/api/inference/logs/tiny/stream") as events:
                async with asyncio.timeout(api.DEADLINE_S):
                    async for event_id, some in events:
                        lines += some
                        assert int(event_id) == len(lines)
                        if len(lines) > 5:
                            break
            assert lines[:2] == ["one", "two"]
            async with reading(http, "/api/inference/logs/tiny/stream", **{"Last-Event-ID": "1"}) as events:
                ((_, some),) = await take(events, 1)
                assert some[0] == "two"
                await http.post("/api/inference/unload", json={"model_id": "tiny"})
                async with asyncio.timeout(api.DEADLINE_S):
                    async for _ in events:
                        pass  # it ends by itself
            tail = await http.get("/api/inference/logs/tiny", params={"lines": 0})
            assert tail.status_code == 404  # stopped models are not listed

    api.run(scenario)


@pytest.mark.parametrize("lines", ["0", "-1", "many", "10001", "9" * 5000])
def test_a_wrong_number_of_lines_is_told(lines: str) -> None:
    async def scenario() -> None:
        async with api.running() as (bench, http):
            await bench.load(http, model_id="tiny")
            assert (await http.get("/api/inference/logs/tiny", params={"lines": lines})).status_code == 400

    api.run(scenario)


def test_silence_has_a_heartbeat() -> None:
    async def scenario() -> None:
        channel = Channel(kept=1, heartbeat_s=0.01)
        stream = channel.follow(None)
        assert await parts_of(stream, 3) == [HEARTBEAT] * 3
        channel.publish(b"{}")
        while (part := await anext(stream)) == HEARTBEAT:
            pass
        assert part.endswith(b"data: {}\n\n")

    api.run(scenario)


def test_a_reader_that_does_not_take_its_events_is_dropped_and_others_are_not() -> None:
    async def scenario() -> None:
        channel = Channel(kept=4)
        slow, quick = channel.follow(None), channel.follow(None)
        taking = asyncio.create_task(parts_of(quick, 1))
        waiting = asyncio.create_task(parts_of(slow, 1))
        await asyncio.sleep(0)
        channel.publish(b"0")
        await asyncio.gather(taking, waiting)
        for number in range(QUEUE_EVENTS + 1):
            channel.publish(b"%d" % number)
            await parts_of(quick, 1)
        assert channel.reader_count == 1
        with pytest.raises(StopAsyncIteration):
            await anext(slow)

    api.run(scenario)


def test_what_is_no_longer_kept_is_not_replayed_with_a_hole() -> None:
    async def scenario() -> None:
        channel = Channel(kept=2)
        stream = channel.follow(None)
        first = asyncio.create_task(parts_of(stream, 1))
        await asyncio.sleep(0)
        for number in range(4):
            channel.publish(b"%d" % number)
        (part,) = await first
        old_id = part.partition(b"\n")[0].removeprefix(b"id: ").decode()
        (now,) = await parts_of(channel.follow(old_id, lambda: b"now"), 1)
        assert now.endswith(b"data: now\n\n")

    api.run(scenario)


def test_a_reader_that_takes_nothing_is_cut_off() -> None:
    aborted: list[bool] = []

    async def endless() -> Any:
        while True:
            yield b"x"

    async def scenario() -> None:
        async def send(message: Any) -> None:
            if message["type"] == "http.response.body":
                await asyncio.Event().wait()

        async def receive() -> Any:
            await asyncio.Event().wait()

        scope = {"type": "http", "method": "GET", "state": {"launchdeck.abort": lambda: aborted.append(True)}}
        await EventStream(endless(), asyncio.Event(), send_timeout_s=0.01)(scope, receive, send)

    api.run(scenario)
    assert aborted == [True]


def test_ten_readers_that_never_read_cost_nothing_but_themselves() -> None:
    async def scenario() -> None:
        async with api.running() as (bench, http):
            request = (
                f"GET /api/management/gpus/stream HTTP/1.1\r\nHost: 127.0.0.1:{bench.port}\r\n"
                f"Authorization: Bearer {bench.server.token}\r\n\r\n"
            ).encode()
            slow = [slow_reader(bench.port, request) for _ in range(SLOW_READERS)]
            await until(lambda: bench.backend.gpus.reader_count == SLOW_READERS)
            before_bytes = psutil.Process().memory_info().rss
            async with reading(http, "/api/management/gpus/stream") as events:
                await until(lambda: bench.backend.gpus.reader_count == SLOW_READERS + 1)
                published = 0
                while bench.backend.gpus.reader_count > 1:
                    bench.backend.on_inventory(two_gpus())
                    published += 1
                    await take(events, 1)
                    assert published < 5000, "slow readers are still being fed"
            assert psutil.Process().memory_info().rss - before_bytes < 64 * 1024**2
            assert (await http.get("/ping")).status_code == 204
            for reader in slow:
                reader.close()

    api.run(scenario)


def slow_reader(port: int, request: bytes) -> socket.socket:
    """It asks, and takes next to nothing into its own buffer."""
    reader = socket.socket()
    reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    reader.connect(("127.0.0.1", port))
    reader.sendall(request)
    return reader


async def until(condition: Any) -> None:
    async with asyncio.timeout(api.DEADLINE_S):
        while not condition():
            await asyncio.sleep(0.01)


def test_closing_ends_every_stream_in_order() -> None:
    async def scenario() -> None:
        async with api.running() as (bench, http):
            async with reading(http, "/api/events") as events:
                await until(lambda: bench.backend.events.reader_count == 1)
                closing = asyncio.create_task(bench.server.close())
                async with asyncio.timeout(api.DEADLINE_S):
                    assert [event async for event in events] == []  # no error: the response ends as it should
            await closing

    api.run(scenario)


def test_curl_reads_the_stream() -> None:
    if shutil.which("curl") is None:
        skip_or_fail("curl is not installed")

    async def scenario() -> None:
        async with api.running() as (bench, _http):
            bench.backend.on_inventory(two_gpus())
            curl = await asyncio.create_subprocess_exec(
                "curl", "--silent", "--no-buffer", "--header", f"Authorization: Bearer {bench.server.token}",
                f"{bench.server.url}/api/management/gpus/stream", stdout=asyncio.subprocess.PIPE,
            )  # fmt: skip
            assert curl.stdout is not None
            async with asyncio.timeout(api.DEADLINE_S):
                assert (await curl.stdout.readline()).startswith(b"id: ")
                assert json.loads((await curl.stdout.readline()).removeprefix(b"data: "))["total"] == 2
            curl.kill()
            await curl.wait()

    api.run(scenario)
