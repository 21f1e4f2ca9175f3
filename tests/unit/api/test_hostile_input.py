"""Whatever is sent, the answer is never that Launchdeck made a mistake."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from fakes import api
from launchdeck.api.operations import EVENTS, OPERATIONS
from launchdeck.api.requests import LoadBody
from launchdeck.engines.names import LONGEST_NAME

TEXTS = (
    "", " ", "\0", "a\0b", "\x1b[2J", "a\x7f", "a\x85b", "..", "../x", "a/..", "/", "//", "/a", "a/", ".", "./a", "-a",
    "~root", "a,b", "\u202egpj.exe", "a\u2066b", "\u200e", "a\u2028b", "\ufeff", "\ud800", "%00", "{name}", "{0}", "%s",
    "é" * 300, "x" * 256, "/" + "x" * 300, "x" * 5000, "/x" * 3000, "💥" * 40, "/dev/zero", "/proc/self/mem", "con",
)  # fmt: skip
NUMBERS = (-1, -2, 0, 1, 2**31, 2**63, 10**40, -(10**40), 0.5, 1e308, 1e999, True)
OTHERS = (None, [], {}, [None], [[]], [""], ["x" * 5000], ["\0"], ["a"] * 5000, [1e999], [0] * 5000, {"a": {}}, [{}])
FIELDS = tuple(LoadBody.model_fields)
ROUNDS = 150


def bodies(rng: random.Random, model: Path) -> dict[str, Any]:
    """A request that would be right but for one to three of its fields."""
    body: dict[str, Any] = {"model_path": str(model), "gpu_indices": [], "n_ctx": 128}
    for name in rng.sample([*FIELDS, "model_path", "model_id"], rng.randint(1, 3)):
        body[name] = rng.choice(rng.choice((TEXTS, NUMBERS, OTHERS)))
    return body


def test_no_field_of_any_request_leads_to_a_mistake(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        rng = random.Random(14)
        headers = {"Content-Type": "application/json"}
        async with api.running() as (bench, http):
            for _ in range(ROUNDS):
                body = json.dumps(bodies(rng, bench.model())).encode()
                answer = await http.post("/api/inference/plan", headers=headers, content=body)
                assert answer.status_code != 500, (body[:500], answer.text)
                said = answer.json().get("detail", "")
                assert len(said) < 10_000, (body[:500], said[:500])
            for value in (*TEXTS, *NUMBERS, *OTHERS):
                for path in ("unload", "restart", "start-with-launchdeck", "load"):
                    body = json.dumps({"model_id": value, "enabled": True, "model_path": "/x"}).encode()
                    for content in (body, json.dumps({"model_id": value}).encode(), json.dumps(value).encode()):
                        answer = await http.post(f"/api/inference/{path}", headers=headers, content=content)
                        assert 400 <= answer.status_code < 500, (path, content[:200], answer.text)

    api.run(scenario)
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


def test_no_address_leads_to_a_mistake() -> None:
    async def scenario() -> None:
        async with api.running() as (bench, http):
            for operation in OPERATIONS:
                for text in TEXTS:
                    name = quote(text, safe="", errors="surrogatepass")
                    path = operation.path.replace("{name}", name) + f"?lines={name}&{name}"
                    if operation.method == "GET" and operation.answer is EVENTS and "{name}" not in operation.path:
                        continue  # it goes on
                    headers = {"Last-Event-ID": quote(text[:100], errors="surrogatepass")}
                    answer = await http.request(operation.method, path, headers=headers)
                    assert answer.status_code < 500, (path, answer.text)
            for raw in (b"%ff", b"%", b"%00", b"%zz", "ü".encode(), b"\x80"):
                request = b"GET /api/inference/logs/%s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n" % (raw, bench.port)
                request += b"Authorization: Bearer %s\r\nConnection: close\r\n\r\n" % bench.server.token.encode()
                assert b" 500 " not in (await api.raw(bench.port, request))[:20]

    api.run(scenario)


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b"\xff\xfe", b"\xef\xbb\xbf{}", b"[" * 60_000, b'{"a":' * 10_000, b"1" * 60_000,
     b'{"model_path": "\\ud800"}', b"NaN"],
)  # fmt: skip
def test_no_body_leads_to_a_mistake(body: bytes) -> None:
    async def scenario() -> None:
        async with api.running() as (_bench, http):
            for operation in OPERATIONS:
                if operation.method == "POST":
                    answer = await http.post(operation.path, headers={"Content-Type": "application/json"}, content=body)
                    assert 400 <= answer.status_code < 500, (operation.path, answer.text)

    api.run(scenario)


@pytest.mark.parametrize("path", ["/" + "x" * 300, "/x" * 3000, "/models/" + "é" * 200])
def test_an_over_long_path_is_refused_in_words(path: str) -> None:
    async def scenario() -> None:
        async with api.running() as (bench, http):
            inside = str(bench.model().parent) + path
            for model_path in (path, inside):
                for operation in ("plan", "load"):
                    answer = await http.post(f"/api/inference/{operation}", json={"model_path": model_path})
                    assert answer.status_code in {400, 403, 404}, answer.text
                    assert answer.json()["detail"]

    api.run(scenario)


@pytest.mark.parametrize(
    "name",
    ["\0", "a\0b", "\x1b[31mred", "a\nb", "a\x7fb", "a\x9bb", "\u202eabc", "a\u2066b", "a\u200fb", "a\u061cb",
     "\ufeffa",
     "a\u200bb", "a\u2028b", "..", ".", "../a", "a/../b", "a/..", "/a", "a/", "a//b", "./a", "a/.", "a\\b", "-a",
     "a b", "a,b", "", "x" * (LONGEST_NAME + 1)],
)  # fmt: skip
def test_a_model_has_a_name_that_can_be_shown_and_asked_for(name: str) -> None:
    async def scenario() -> None:
        async with api.running() as (bench, http):
            body = json.dumps({"model_path": str(bench.model()), "model_id": name, "gpu_indices": []})
            for operation in ("plan", "load"):
                answer = await http.post(
                    f"/api/inference/{operation}", headers={"Content-Type": "application/json"}, content=body
                )
                assert answer.status_code == 422, answer.text
                detail = answer.json()["detail"]
                assert "model's name" in detail
                assert detail.isprintable()
            assert bench.manager.deployments == ()

    api.run(scenario)


@pytest.mark.parametrize("name", ["org/name", "a.b-c_d", "v1..2", "모델", "a:7b", "A" * LONGEST_NAME, "@x", "a+b"])
def test_usual_names_are_taken(name: str) -> None:
    async def scenario() -> None:
        async with api.running() as (bench, http):
            body = {"model_path": str(bench.model()), "model_id": name, "gpu_indices": [], "n_ctx": 128}
            answer = await http.post("/api/inference/plan", json=body)
            assert answer.status_code == 200, answer.text

    api.run(scenario)
