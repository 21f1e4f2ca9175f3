"""The OpenAPI document of the interface, and a page that shows it without anything from the internet."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from launchdeck import __version__
from launchdeck.api import answers, problems
from launchdeck.api.address import OPEN_PATH
from launchdeck.api.handlers import DEFAULT_LOG_LINES, MAX_LOG_LINES
from launchdeck.api.operations import EVENTS, Operation
from launchdeck.domain.errors import Cause

if TYPE_CHECKING:
    from pydantic.json_schema import JsonSchemaMode

_REFERENCE: Final = "#/components/schemas/{model}"
_DESCRIPTION: Final = (
    "Send the token in runtime/api-token as 'Authorization: Bearer TOKEN'; it is another one at every start. "
    "Refusals are problem documents (RFC 9457). Streams are server-sent events with a heartbeat every 15 s; "
    "'Last-Event-ID' gives a reader that comes back what it missed."
)
_NAME: Final = "The model's name, or the deployment's id"
_LINES: Final = {
    "name": "lines",
    "in": "query",
    "description": "How many of the last lines",
    "schema": {"type": "integer", "minimum": 1, "maximum": MAX_LOG_LINES, "default": DEFAULT_LOG_LINES},
}
_LAST_ID: Final = {"name": "Last-Event-ID", "in": "header", "schema": {"type": "string", "pattern": "^[!-~]*$"}}


def openapi_document(operations: Sequence[Operation], url: str) -> dict[str, Any]:
    """OpenAPI 3.1."""
    bodies = {operation.body for operation in operations if operation.body is not None}
    documents: set[type[BaseModel]] = {answers.Problem}
    documents.update(operation.answer for operation in operations if isinstance(operation.answer, type))
    wanted: list[tuple[type[BaseModel], JsonSchemaMode]] = [(body, "validation") for body in bodies]
    wanted += [(document, "serialization") for document in documents]
    wanted.sort(key=lambda item: item[0].__name__)
    _, definitions = models_json_schema(wanted, ref_template=_REFERENCE)
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Launchdeck", "version": __version__, "description": _DESCRIPTION},
        "servers": [{"url": url}],
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "schemas": definitions["$defs"],
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(operation: Operation) -> dict[str, Any]:
    problem = {problems.MEDIA_TYPE: {"schema": _schema(answers.Problem)}}
    document: dict[str, Any] = {
        "summary": operation.summary,
        "operationId": operation.handler.__name__,
        "responses": {
            str(operation.status): _answer(operation),
            "default": {"description": "A refusal", "content": problem},
        },
    }
    parameters = [
        {"name": name, "in": "path", "required": True, "description": _NAME, "schema": {"type": "string"}}
        for name in re.findall(r"{(\w+)}", operation.path)
    ]
    parameters += [_LINES] if operation.takes_lines else []
    parameters += [_LAST_ID] if operation.answer == EVENTS else []
    if parameters:
        document["parameters"] = parameters
    if operation.body is not None:
        content = {"schema": _schema(operation.body), "example": operation.example}
        document["requestBody"] = {"required": True, "content": {"application/json": content}}
    if operation.path == OPEN_PATH:
        document["security"] = []
    return document


def _answer(operation: Operation) -> dict[str, Any]:
    answer = operation.answer
    if answer is None:
        return {"description": "Nothing"}
    if isinstance(answer, str):
        return {"description": operation.summary, "content": {answer: {"schema": {"type": "string"}}}}
    return {"description": operation.summary, "content": {"application/json": {"schema": _schema(answer)}}}


def _schema(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": _REFERENCE.format(model=model.__name__)}


def docs_page(operations: Sequence[Operation], url: str) -> str:
    """The interface for people: each operation with a call to paste."""
    parts = [_section(operation, url) for operation in operations]
    causes = "".join(f'<li id="{cause}">{html.escape(cause.replace("_", " "))}</li>' for cause in Cause)
    return _PAGE.format(
        version=__version__, description=html.escape(_DESCRIPTION), operations="".join(parts), causes=causes
    )


def _section(operation: Operation, url: str) -> str:
    return _SECTION.format(
        method=operation.method,
        path=html.escape(operation.path),
        summary=html.escape(operation.summary),
        call=html.escape(curl(operation, url)),
        fields=_fields(operation.body) if operation.body else "",
    )


def curl(operation: Operation, url: str) -> str:
    """A call that can be pasted into a shell; the token comes from its file, not from the page."""
    words = ["curl"]
    if operation.answer == EVENTS:
        words.append("--no-buffer")
    if operation.path != OPEN_PATH:
        words.append('--header "Authorization: Bearer $(cat api-token)"')
    if operation.method == "POST":
        words.append(f"--json '{json.dumps(operation.example)}'")
    return " \\\n  ".join([*words, url + operation.path.replace("{name}", "qwen3-8b")])


def _fields(body: type[BaseModel]) -> str:
    rows = (
        f"<tr><td><code>{html.escape(name)}</code></td><td>{html.escape(field.description or '')}</td></tr>"
        for name, field in body.model_fields.items()
    )
    return f"<table>{''.join(rows)}</table>"


_SECTION: Final = """<section>
<h2><b>{method}</b> <code>{path}</code></h2>
<p>{summary}</p>
<pre>{call}</pre>
{fields}
</section>
"""

_PAGE: Final = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Launchdeck: HTTP interface</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }}
h2 {{ font-size: 1rem; margin: 2rem 0 0; }}
pre, table {{ background: color-mix(in srgb, canvastext 6%, canvas); border-radius: 7px; padding: .7rem; }}
pre {{ overflow-x: auto; }}
td {{ padding: .1rem 1rem .1rem 0; vertical-align: top; }}
</style>
<h1>Launchdeck {version}</h1>
<p>{description} The whole description for programs is at <a href="/openapi.json">/openapi.json</a>.</p>
{operations}
<h2>Causes of a refusal</h2>
<ul>{causes}</ul>
</html>
"""
