"""The interface against its own description: requests made from it, and every answer checked by it."""

from __future__ import annotations

import asyncio
import re
import sys
from typing import Any, get_args

from pydantic import BaseModel

from fakes import api
from launchdeck.api import answers
from launchdeck.api.operations import OPERATIONS

EXAMPLES = 8
STREAMS = "/stream$|^/api/events$"


async def checked_by_schemathesis(bench: api.ApiBench, *options: str) -> str:
    """What schemathesis has to say of the whole interface; it has to end with success."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", "from schemathesis.cli import schemathesis; schemathesis()", "run",
        f"{bench.server.url}/openapi.json", "--header", f"Authorization: Bearer {bench.server.token}",
        "--exclude-path-regex", STREAMS, "--max-examples", str(EXAMPLES), "--no-color", "--seed", "1", *options,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, cwd=bench.setup.paths.cache,
    )  # fmt: skip
    output, _ = await process.communicate()
    text = output.decode()
    assert process.returncode == 0, text
    return text


def test_every_answer_is_as_described() -> None:
    async def scenario() -> None:
        async with api.running() as (bench, http):
            await bench.load(http, model_id="qwen3-8b")
            # What is true of a request cannot all be said in a schema; and the gate's 415 comes before the routes' 405.
            excluded = "positive_data_acceptance,unsupported_method"
            text = await checked_by_schemathesis(bench, "--exclude-checks", excluded)
            tested = len([one for one in OPERATIONS if not re.search(STREAMS, one.path)])
            assert re.search(rf"Tested: {tested}\b", text), text

    api.run(scenario)


def undescribed(answer: type[BaseModel], document: dict[str, Any]) -> set[str]:
    """Members that the description does not have, or that are not there, at any depth."""
    wrong = {f"{answer.__name__}.{name}" for name in set(answer.model_fields) ^ set(document)}
    for name, field in answer.model_fields.items():
        inner = [kind for kind in (field.annotation, *get_args(field.annotation)) if isinstance(kind, type)]
        model = next((kind for kind in inner if issubclass(kind, BaseModel)), None)
        value = document.get(name)
        for part in value if isinstance(value, list) else [value]:
            if model is not None and isinstance(part, dict):
                wrong |= undescribed(model, part)
    return wrong


def test_every_member_of_every_answer_is_described() -> None:
    async def scenario() -> None:
        async with api.running(hand_over=True, last_port=65535) as (bench, http):
            body = {"model_path": str(bench.model()), "gpu_indices": []}
            started = await bench.load(http, model_id="tiny", gpu_index=0, gpu_indices=None)
            await bench.until(http, "tiny", "running")
            calls: dict[str, dict[str, Any]] = {
                "/api/inference/plan": body,
                "/api/inference/start-with-launchdeck": {"model_id": "tiny", "enabled": True},
                "/api/inference/unload": {"model_id": "tiny"},
            }
            assert undescribed(answers.Started, started) == set()
            for operation in sorted(OPERATIONS, key=lambda one: (one.method, one.path)):  # unload is the last
                if not isinstance(operation.answer, type) or operation.path.endswith(("/load", "/restart")):
                    continue
                path = operation.path.replace("{name}", "tiny")
                answer = await http.request(operation.method, path, json=calls.get(path, {}))
                assert answer.status_code == operation.status, answer.text
                assert undescribed(operation.answer, answer.json()) == set()

    api.run(scenario)


def references(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [str(v) for k, v in value.items() if k == "$ref"] + [r for v in value.values() for r in references(v)]
    return [r for item in value for r in references(item)] if isinstance(value, list) else []


def test_the_description_is_whole_and_the_page_needs_nothing_from_outside() -> None:
    async def scenario() -> None:
        async with api.running() as (bench, http):
            document = (await http.get("/openapi.json")).json()
            described = {(m.upper(), path) for path, methods in document["paths"].items() for m in methods}
            assert described == {(one.method, one.path) for one in OPERATIONS}
            for reference in references(document):
                assert reference.rpartition("/")[2] in document["components"]["schemas"]
            names = [operation["operationId"] for one in document["paths"].values() for operation in one.values()]
            assert len(set(names)) == len(names)
            page = await http.get("/docs")
            assert page.headers["content-type"].startswith("text/html")
            assert all(path in page.text for _, path in described)
            outside = [url for url in re.findall(r"https?://[^\s\"'<\\]+", page.text) if bench.server.url not in url]
            assert outside == []
            assert bench.server.token not in page.text

    api.run(scenario)
