"""The socket for the user's own hand: what HTTP refuses, it takes, from this user and nobody else."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import stat
from pathlib import Path
from typing import Any

import pytest

from fakes import api
from fakes.gguf_models import llama
from fakes.serving import until_async
from launchdeck.api import own_hand
from launchdeck.api.address import OWN_HAND_LOAD, own_hand_socket
from launchdeck.api.client import OwnHandClient
from launchdeck.commands import deploy
from launchdeck.commands.parser import build_parser
from launchdeck.domain.errors import Cause, LaunchdeckError
from launchdeck.settings.paths import SOCKET_PATH_BYTES, Paths

LOAD = "/api/inference/load"
ANOTHER_UID = 65534


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A model that lies in no folder of the library."""
    return llama(n_layer=5).write(tmp_path / "outside.gguf")


def body_of(path: Path, **changes: Any) -> dict[str, Any]:
    return {"model_path": str(path), "gpu_indices": [], "n_ctx": 128} | changes


def ask(path: Path, request: bytes) -> bytes:
    """Say this at the socket, and read the answer."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(api.DEADLINE_S)
        connection.connect(str(path))
        return said(connection, request)


def said(connection: socket.socket, request: bytes) -> bytes:
    connection.sendall(request)
    answer = b""
    while piece := connection.recv(1 << 16):
        answer += piece
    return answer


def request_of(body: dict[str, Any], path: str = OWN_HAND_LOAD, *more: str) -> bytes:
    content = json.dumps(body).encode()
    head = [f"POST {path} HTTP/1.1", "Host: x", "Connection: close", "Content-Type: application/json", *more]
    return "\r\n".join([*head, f"Content-Length: {len(content)}", "", ""]).encode() + content


def test_it_lets_in_what_http_refuses_and_teaches_http_nothing(outside: Path) -> None:
    async def scenario() -> None:
        async with api.running() as (bench, http):
            client = OwnHandClient.at(bench.setup.paths)
            assert client is not None
            refused = await http.post(LOAD, json=body_of(outside))
            assert (refused.status_code, refused.json()["cause"]) == (403, "outside_library")
            started = await asyncio.to_thread(client.post, OWN_HAND_LOAD, body_of(outside, model_id="mine"))
            await bench.until(http, "mine", "running")
            assert started["model_id"] == "mine"
            for path in (LOAD, "/api/inference/plan"):
                assert (await http.post(path, json=body_of(outside))).status_code == 403
            assert (await http.post(OWN_HAND_LOAD, json=body_of(outside))).status_code == 404

    api.run(scenario)


def test_http_has_no_field_header_or_token_for_it(outside: Path) -> None:
    async def scenario() -> None:
        async with api.running() as (bench, http):
            for header in ("X-Own-Hand", "X-Forwarded-For", "Forwarded", "Launchdeck.Peer", "X-Real-Ip"):
                answer = await http.post(LOAD, json=body_of(outside), headers={header: str(os.geteuid())})
                assert answer.status_code == 403
            for field in ("own_hand", "peer", "launchdeck.peer", "permit", "allow"):
                answer = await http.post(LOAD, json=body_of(outside) | {field: True})
                assert answer.status_code == 400
            assert bench.manager.deployments == ()

    api.run(scenario)


def test_nothing_but_a_load_can_be_asked_of_it() -> None:
    async def scenario() -> None:
        async with api.running() as (bench, _http):
            path = own_hand_socket(bench.setup.paths)
            for other in (LOAD, "/api/management/handover", "/2/load", "/ping", "/metrics"):
                assert b" 404 " in (await asyncio.to_thread(ask, path, request_of({}, other)))[:20]
            get = b"GET /1/load HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
            assert b" 405 " in (await asyncio.to_thread(ask, path, get))[:20]
            for bad in ({}, body_of(Path("relative.gguf")), body_of(Path("/a/../b")), body_of(Path("/x\0y"))):
                assert b" 400 " in (await asyncio.to_thread(ask, path, request_of(bad)))[:20]
            for odd in (Path("/dev/zero"), Path("/nowhere.gguf"), Path("/proc/self/mem"), Path("/" + "x" * 300)):
                assert b" 422 " in (await asyncio.to_thread(ask, path, request_of(body_of(odd))))[:20]
            assert bench.manager.deployments == ()

    api.run(scenario)


def test_it_is_for_this_user_alone(outside: Path) -> None:
    async def scenario() -> None:
        async with api.running() as (bench, _http):
            path = own_hand_socket(bench.setup.paths)
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
            if os.geteuid() == 0:  # only root can be somebody else for a moment
                answer = await asyncio.to_thread(_ask_as_another, path, request_of(body_of(outside)))
                assert b" 403 " in answer[:20]
                assert b"answers the user alone" in answer
            assert bench.manager.deployments == ()

    api.run(scenario)


def _ask_as_another(path: Path, request: bytes) -> bytes:
    """As another user: the file's mode keeps them out, and where that has been opened, the socket does."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(api.DEADLINE_S)
        os.seteuid(ANOTHER_UID)
        try:
            with pytest.raises(PermissionError):
                connection.connect(str(path))
        finally:
            os.seteuid(0)
        for folder in (path.parent, path.parent.parent):
            folder.chmod(0o755)
        path.chmod(0o666)
        os.seteuid(ANOTHER_UID)
        try:
            connection.connect(str(path))
        finally:
            os.seteuid(0)
        return said(connection, request)


def test_a_link_that_is_exchanged_is_looked_at_anew_over_http(outside: Path) -> None:
    async def scenario() -> None:
        async with api.running() as (bench, http):
            inside = bench.model()
            link = inside.with_name("link.gguf")
            link.symlink_to(inside)
            assert (await http.post("/api/inference/plan", json=body_of(link))).status_code == 200
            link.unlink()
            link.symlink_to(outside)
            assert (await http.post(LOAD, json=body_of(link))).status_code == 403
            client = OwnHandClient(own_hand_socket(bench.setup.paths))
            await asyncio.to_thread(client.post, OWN_HAND_LOAD, body_of(link, model_id="mine"))
            assert (await http.post(LOAD, json=body_of(link))).status_code == 403

    api.run(scenario)


def test_one_that_was_left_is_replaced_and_ours_is_taken_away() -> None:
    async def scenario() -> None:
        path = own_hand_socket(Paths.resolve())
        path.parent.mkdir(parents=True, exist_ok=True)
        with socket.socket(socket.AF_UNIX) as left:
            left.bind(str(path))
        async with api.running() as (bench, _http):
            assert b" 400 " in await asyncio.to_thread(ask, path, request_of({}))
            await bench.server.close()
            assert not path.exists()
        async with api.running() as (bench, _http):
            path.unlink()
            path.write_text("another one's")
            await bench.server.close()
            assert path.read_text() == "another one's"

    api.run(scenario)


def test_without_it_http_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        path = own_hand_socket(Paths.resolve())
        path.mkdir(parents=True)
        async with api.running() as (_bench, http):
            assert (await http.get("/ping")).status_code == 204

    api.run(scenario)
    assert "deploy" in caplog.text


def test_its_place_is_short_enough_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for length in range(1, 200, 7):
        monkeypatch.setenv("LAUNCHDECK_HOME", str(tmp_path / ("x" * length)))
        assert len(os.fsencode(own_hand_socket(Paths.resolve()))) <= SOCKET_PATH_BYTES


def test_a_system_that_does_not_tell_who_connects_has_none(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    monkeypatch.delattr(socket, "SO_PEERCRED")
    assert own_hand.listen(Paths.resolve()) is None
    assert "does not tell who connects" in caplog.text


def options_of(*words: str) -> argparse.Namespace:
    return build_parser().parse_args(["deploy", *words])


@pytest.mark.parametrize("spelling", ["full", "up", "relative"])
def test_deploy_takes_a_file_outside_the_library(
    outside: Path, spelling: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (outside.parent / "below").mkdir()
    monkeypatch.chdir(outside.parent / "below" if spelling == "up" else outside.parent)
    named = {"full": str(outside), "up": "../outside.gguf", "relative": "outside.gguf"}[spelling]

    async def scenario() -> None:
        async with api.running() as (bench, _http):
            options = options_of(named, "--gpu", "cpu", "--ctx", "128", "--json", "--no-wait")
            assert await asyncio.to_thread(deploy.run, options) == 0
            await until_async(lambda: len(bench.manager.deployments) == 1)
            assert bench.manager.deployments[0].plan.request.model_path == outside

    api.run(scenario)
    assert '"state"' in capsys.readouterr().out


def test_deploy_says_why_not_where_there_is_no_such_socket(outside: Path) -> None:
    async def scenario() -> None:
        async with api.running() as (bench, _http):
            own_hand_socket(bench.setup.paths).unlink()
            with pytest.raises(LaunchdeckError, match="outside the folders") as refusal:
                await asyncio.to_thread(deploy.run, options_of(str(outside)))
            assert refusal.value.failure.cause is Cause.OUTSIDE_LIBRARY
            assert bench.manager.deployments == ()

    api.run(scenario)
