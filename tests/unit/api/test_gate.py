"""Every refusal of the gate, in its order, on every route."""

from __future__ import annotations

import asyncio
import json
import stat
from typing import Any

import pytest

from fakes import api
from launchdeck.api.connections import ADMIT
from launchdeck.api.gate import MAX_BODY_BYTES, HttpGate
from launchdeck.api.operations import OPERATIONS

ROUTES = [(one.method, one.path.replace("{name}", "demo")) for one in OPERATIONS]
ROUTES += [("GET", "/openapi.json"), ("GET", "/docs"), ("GET", "/no/such/path")]
GUARDED = [route for route in ROUTES if route[1] != "/ping"]
BODY = {"model_path": "/nowhere.gguf"}


def kind_of(answer: Any) -> str:
    assert answer.headers["content-type"] == "application/problem+json"
    document = answer.json()
    assert document["status"] == answer.status_code
    return str(document["type"].removeprefix("/docs#"))


def test_a_foreign_host_is_refused_everywhere() -> None:
    async def scenario() -> None:
        async with api.running() as (bench, http):
            for host in (
                f"evil.example:{bench.port}",
                "127.0.0.1",
                f"127.0.0.1:{bench.port + 1}",
                f"[::1]:{bench.port}",
            ):
                for method, path in ROUTES:
                    answer = await http.request(method, path, headers={"Host": host}, json=BODY)
                    assert (answer.status_code, kind_of(answer)) == (403, "wrong_host"), (host, path)
            localhost = {"Host": f"LOCALHOST:{bench.port}"}
            assert (await http.get("/ping", headers=localhost)).status_code == 204

    api.run(scenario)


def test_an_empty_or_missing_host_is_refused() -> None:
    async def scenario() -> None:
        async with api.running() as (bench, _http):
            for request in (b"GET /ping HTTP/1.1\r\nHost:\r\nConnection: close\r\n\r\n", b"GET /ping HTTP/1.0\r\n\r\n"):
                assert (await api.raw(bench.port, request)).startswith(b"HTTP/1.1 403 ")
            two = b"GET /ping HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nHost: evil\r\n\r\n" % bench.port
            assert (await api.raw(bench.port, two)).startswith(b"HTTP/1.1 400 ")

    api.run(scenario)


def test_any_origin_is_refused_everywhere() -> None:
    async def scenario() -> None:
        async with api.running() as (bench, http):
            for origin in ("https://evil.example", "null", bench.server.url):
                for method, path in ROUTES:
                    answer = await http.request(method, path, headers={"Origin": origin}, json=BODY)
                    assert (answer.status_code, kind_of(answer)) == (403, "foreign_origin")
                    assert not [name for name in answer.headers if name.startswith("access-control")]

    api.run(scenario)


def test_nothing_but_ping_is_answered_without_the_token() -> None:
    async def scenario() -> None:
        async with api.running() as (bench, _http):
            token = bench.server.token
            for wrong in ("", token, f"Basic {token}", f"Bearer {token}x", f"Bearer {token[:-1]}", "Bearer ü"):
                for method, path in GUARDED:
                    headers = [(b"authorization", wrong.encode())] if wrong else []
                    async with bench.client() as stranger:
                        answer = await stranger.request(method, path, headers=headers, json=BODY)
                    assert (answer.status_code, kind_of(answer)) == (401, "no_token"), (wrong, path)
                    assert answer.headers["www-authenticate"] == "Bearer"
            async with bench.client() as stranger:
                assert (await stranger.get(f"/api/management/gpus?token={token}")).status_code == 401
                pong = await stranger.get("/ping")
            assert (pong.status_code, pong.content) == (204, b"")
            assert bench.manager.deployments == ()

    api.run(scenario)


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "", "application/jsonx"])
def test_only_json_is_taken(content_type: str) -> None:
    async def scenario() -> None:
        async with api.running() as (bench, http):
            for method, path in GUARDED:
                if method == "POST":
                    headers = {"Content-Type": content_type} if content_type else {}
                    answer = await http.request(method, path, headers=headers, content=json.dumps(BODY))
                    assert (answer.status_code, kind_of(answer)) == (415, "not_json")
            assert bench.manager.deployments == ()

    api.run(scenario)


def test_the_order_is_host_origin_token_type() -> None:
    async def scenario() -> None:
        async with api.running() as (bench, _http):
            wrong = {"Host": "evil", "Origin": "null", "Authorization": "no", "Content-Type": "text/plain"}
            right = {"Host": f"127.0.0.1:{bench.port}", "Origin": None, "Authorization": f"Bearer {bench.server.token}"}
            kinds = []
            async with bench.client() as http:
                for name in ("Host", "Origin", "Authorization", "Content-Type"):
                    kinds.append(kind_of(await http.post("/api/inference/load", headers=wrong, content=b"{")))
                    wrong.pop(name)
                    if right.get(name):
                        wrong[name] = str(right[name])
            assert kinds == ["wrong_host", "foreign_origin", "no_token", "not_json"]

    api.run(scenario)


def test_a_body_has_a_longest_length_however_it_is_sent() -> None:
    async def scenario() -> None:
        async with api.running() as (bench, http):
            long = b" " * (MAX_BODY_BYTES + 1)
            headers = {"Content-Type": "application/json"}

            async def chunks() -> Any:
                for _ in range(3):
                    yield b" " * (MAX_BODY_BYTES // 2)

            for content in (long, chunks()):
                answer = await http.post("/api/inference/load", headers=headers, content=content)
                assert (answer.status_code, kind_of(answer)) == (413, "too_long")
            head = b"GET /ping HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nX: %s" % (bench.port, b"x" * 200_000)
            assert (await api.raw(bench.port, head))[:13] in {b"HTTP/1.1 400 ", b""}

    api.run(scenario)


def test_a_body_has_to_come_in_time() -> None:
    sent: list[dict[str, Any]] = []

    async def never() -> Any:
        await asyncio.Event().wait()

    async def send(message: Any) -> None:
        sent.append(message)

    async def scenario() -> None:
        gate = HttpGate(None, token="t", port=1, body_timeout_s=0.01)  # type: ignore[arg-type]
        headers = [(b"host", b"127.0.0.1:1"), (b"authorization", b"Bearer t"), (b"content-type", b"application/json")]
        state = {ADMIT: lambda: True}
        await gate({"type": "http", "method": "POST", "path": "/", "headers": headers, "state": state}, never, send)

    api.run(scenario)
    assert sent[0]["status"] == 408


def test_the_token_is_new_at_every_start_and_for_its_user_alone() -> None:
    async def scenario() -> None:
        tokens = []
        for _ in range(2):
            async with api.running() as (bench, _http):
                runtime = bench.setup.paths.runtime
                for name, content in (("api-token", bench.server.token), ("api-url", bench.server.url)):
                    file = runtime / name
                    assert file.read_text() == content
                    assert stat.S_IMODE(file.stat().st_mode) == 0o600
                tokens.append(bench.server.token)
            assert sorted(path.name for path in runtime.glob("api-*")) == []
        assert len(set(tokens)) == 2
        assert min(map(len, tokens)) >= 40

    api.run(scenario)


def test_a_taken_port_is_told() -> None:
    from launchdeck.api.server import ApiServer
    from launchdeck.domain.errors import LaunchdeckError

    async def scenario() -> None:
        async with api.running() as (bench, http):
            second = ApiServer(bench.backend)
            with pytest.raises(LaunchdeckError, match=f"port {bench.port}"):
                await second.start(bench.port)
            assert (await http.get("/ping")).status_code == 204
            assert (bench.setup.paths.runtime / "api-url").read_text() == bench.server.url

    api.run(scenario)
