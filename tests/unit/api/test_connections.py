"""Who may keep a connection to the interface, and for how long: strangers cannot keep the owner out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from fakes import api
from fakes.serving import PATIENCE_S, until_async
from launchdeck.api import connections
from launchdeck.api.connections import MOST_OWNERS, MOST_STRANGERS, UNREAD_BYTES

Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]
SOON_S = 0.2


@asynccontextmanager
async def connected(port: int, count: int, sent: bytes = b"") -> AsyncIterator[list[Stream]]:
    """So many connections, on each of which this was said."""
    streams = []
    for _ in range(count):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(sent)
        streams.append((reader, writer))
    try:
        yield streams
    finally:
        for _, writer in streams:
            writer.close()


async def ended(stream: Stream, patience_s: float = PATIENCE_S) -> bytes:
    """What comes until the connection ends."""
    async with asyncio.timeout(patience_s):
        try:
            return await stream[0].read()
        except ConnectionResetError:
            return b""


async def send_on(writer: asyncio.StreamWriter, piece: bytes, most: int, pause_s: float = 0) -> int:
    """Send this again and again, at most so many times, until the connection ends; how often it could be sent."""
    for count in range(most):
        try:
            writer.write(piece)
            await asyncio.wait_for(writer.drain(), PATIENCE_S)
        except ConnectionError:
            return count
        await asyncio.sleep(pause_s)
    return most


def head(bench: api.ApiBench, request: str = "GET /ping", *more: str) -> bytes:
    lines = [f"{request} HTTP/1.1", f"Host: 127.0.0.1:{bench.port}", *more, "", ""]
    return "\r\n".join(lines).encode()


def authorized(bench: api.ApiBench, request: str, *more: str) -> bytes:
    return head(bench, request, f"Authorization: Bearer {bench.server.token}", *more)


@pytest.mark.parametrize("said", ["nothing", "half a head", "one request", "a request and half of another"])
def test_strangers_do_not_keep_the_owner_out(said: str) -> None:
    async def scenario() -> None:
        async with api.running() as (bench, http):
            sent = {
                "nothing": b"",
                "half a head": head(bench)[:-2],
                "one request": head(bench),
                "a request and half of another": head(bench) + head(bench)[:-2],
            }[said]
            async with connected(bench.port, MOST_STRANGERS + 50, sent) as streams:
                for _ in range(3):
                    async with bench.client(Authorization=f"Bearer {bench.server.token}") as fresh:
                        began_s = time.monotonic()
                        assert (await fresh.get("/api/management/gpus")).status_code == 200
                        assert time.monotonic() - began_s < connections.HEAD_TIMEOUT_S / 2
                assert (await http.get("/ping")).status_code == 204
                await ended(streams[0], connections.HEAD_TIMEOUT_S / 2)  # the oldest had to go
                reader, writer = streams[-1]
                writer.write(head(bench)[-2:] if said == "half a head" else head(bench))
                async with asyncio.timeout(PATIENCE_S):
                    assert await reader.readline()

    api.run(scenario)


def test_the_owner_is_not_ended_by_strangers() -> None:
    async def scenario() -> None:
        async with api.running() as (bench, _http):
            request = authorized(bench, "GET /api/management/models")
            async with connected(bench.port, 1, request) as [(reader, writer)]:
                await reader.readuntil(b"\r\n\r\n")
                async with connected(bench.port, MOST_STRANGERS + 50):
                    while reader._buffer:  # type: ignore[attr-defined]
                        await reader.read(1 << 16)
                    writer.write(authorized(bench, "GET /api/management/gpus"))
                    async with asyncio.timeout(PATIENCE_S):
                        assert b"200" in await reader.readline()

    api.run(scenario)


def test_the_owner_has_as_many_places_as_are_being_answered_and_idle_ones_make_room() -> None:
    async def scenario() -> None:
        async with api.running() as (bench, http):
            stream = authorized(bench, "GET /api/events")
            idle = authorized(bench, "GET /api/management/gpus")
            async with (
                connected(bench.port, 2, idle) as resting,
                connected(bench.port, MOST_OWNERS - 1, stream) as all_,
            ):
                await asyncio.gather(*(reader.readline() for reader, _ in all_))
                assert b"200" in (await ended(resting[0]))  # it went for the last of the streams
                full = await http.get("/api/management/gpus")  # and so does the other one
                assert full.status_code == 200
                await ended(resting[1])
                await http.aclose()
                async with connected(bench.port, 1, stream) as [last]:
                    assert b"200" in await last[0].readline()
                    async with bench.client(Authorization=f"Bearer {bench.server.token}") as fresh:
                        refused = await fresh.get("/api/management/gpus")
                    assert refused.status_code == 503
                    assert "Too many requests" in refused.json()["detail"]

    api.run(scenario)


@pytest.mark.parametrize("requests_before", [0, 1, 3])
def test_every_head_has_to_come_in_time(monkeypatch: pytest.MonkeyPatch, requests_before: int) -> None:
    async def scenario() -> None:
        async with api.running() as (bench, _http):
            for begin in (head, authorized):
                before = begin(bench, "GET /ping") * requests_before
                async with connected(bench.port, 1, before) as [(reader, writer)]:
                    for _ in range(requests_before):
                        assert b"204" in await reader.readuntil(b"\r\n\r\n")
                    most = round(PATIENCE_S / SOON_S * 10)
                    assert await send_on(writer, b"X", most, SOON_S / 10) < most  # a letter now and then is not enough

    monkeypatch.setattr(connections, "HEAD_TIMEOUT_S", SOON_S)
    api.run(scenario)


def test_a_stranger_that_takes_no_answer_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with api.running() as (bench, _http):
            _, writer = await asyncio.open_connection("127.0.0.1", bench.port, limit=1)
            many = head(bench, "GET /api/management/gpus") * 1000
            assert await send_on(writer, many, 1000) < 1000
            writer.close()

    monkeypatch.setattr(connections, "HEAD_TIMEOUT_S", SOON_S)
    api.run(scenario)


@pytest.mark.parametrize("request_line", ["POST /api/inference/load", "GET /api/management/gpus", "GET /ping"])
@pytest.mark.parametrize("with_token", [False, True])
def test_a_body_that_nobody_reads_is_not_read_on_without_end(request_line: str, *, with_token: bool) -> None:
    async def scenario() -> None:
        async with api.running() as (bench, _http):
            begin = authorized if with_token else head
            request = begin(bench, request_line, f"Content-Length: {1 << 40}", "Content-Type: application/json")
            async with connected(bench.port, 1, request) as [(reader, writer)]:
                async with asyncio.timeout(PATIENCE_S):
                    status = await reader.readline()  # the answer comes although the body has not
                assert status.split()[1] in {b"200", b"204", b"401", b"413"}
                assert await send_on(writer, bytes(UNREAD_BYTES), 100) < 100

    api.run(scenario)


def test_a_refused_body_that_comes_slowly_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with api.running() as (bench, _http):
            request = head(bench, "POST /api/inference/load", "Content-Length: 1000")
            async with connected(bench.port, 1, request) as [stream]:
                assert b"401" in await ended(stream)

    monkeypatch.setattr(connections, "UNREAD_TIMEOUT_S", SOON_S)
    monkeypatch.setattr(connections, "HEAD_TIMEOUT_S", 2 * PATIENCE_S)
    api.run(scenario)


def test_a_short_body_that_is_refused_does_not_end_the_connection() -> None:
    async def scenario() -> None:
        async with api.running() as (bench, _http):
            request = head(bench, "POST /api/inference/load", "Content-Length: 5") + b"12345"
            async with connected(bench.port, 1, request + head(bench)) as [(reader, _)]:
                async with asyncio.timeout(PATIENCE_S):
                    assert b"401" in await reader.readuntil(b"\r\n\r\n")
                    assert b"HTTP/1.1 204" in await reader.readuntil(b"204")

    api.run(scenario)


def test_pipelined_requests_are_answered_in_their_order() -> None:
    async def scenario() -> None:
        async with api.running() as (bench, _http):
            paths = ["/ping", "/nowhere", "/api/management/gpus", "/ping"]
            requests = b"".join(authorized(bench, f"GET {path}") for path in paths)
            async with connected(bench.port, 1, requests) as [(reader, _)]:
                answers = b""
                async with asyncio.timeout(PATIENCE_S):
                    while answers.count(b"HTTP/1.1 ") < len(paths):
                        answers += await reader.read(1 << 16)
            assert [part[:3] for part in answers.split(b"HTTP/1.1 ")[1:]] == [b"204", b"404", b"200", b"204"]

    api.run(scenario)


def test_who_sends_no_more_or_no_http_at_all_gives_its_place_back(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        async with api.running() as (bench, http):
            streams = bench.server.places
            assert (await http.get("/ping")).status_code == 204
            for sent in (b"", head(bench)[:-2], authorized(bench, "GET /api/events"), b"\x00\xff\r\n\r\n"):
                async with connected(bench.port, 5, sent) as half:
                    for _, writer in half:
                        await writer.drain()
                        writer.write_eof()
                    await asyncio.gather(*(ended(stream) for stream in half))
            in_the_middle = authorized(bench, "GET /api/events") + b"\x00\xff\r\n\r\n"
            async with connected(bench.port, 5, in_the_middle):
                await until_async(lambda: len(streams.owners) == 5)
            await until_async(lambda: len(streams.strangers) + len(streams.owners) <= 1)

    api.run(scenario)
    assert not [record for record in caplog.records if record.levelname == "ERROR"]
