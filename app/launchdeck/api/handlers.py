"""One coroutine an operation: from a request to the planner or the manager, and back to a document."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Any, Final

from starlette.responses import Response

from launchdeck.api.documents import dumps
from launchdeck.api.requests import EmptyBody, LoadBody, MarkBody, NameBody, load_request, parse
from launchdeck.api.roots import CheckPath, check_full_path, check_model_path, check_rpc_workers
from launchdeck.api.streams import HEARTBEAT, HEARTBEAT_S, NUMBER, EventStream, event
from launchdeck.domain.errors import Cause, LaunchdeckError
from launchdeck.domain.text import Message
from launchdeck.engines.document import plan_document
from launchdeck.files.apart import run_apart
from launchdeck.models.document import to_document as model_document
from launchdeck.models.library import known_models
from launchdeck.serving.ports import no_port

if TYPE_CHECKING:
    from pydantic import BaseModel
    from starlette.requests import Request
    from starlette.types import ASGIApp

    from launchdeck.api.backend import Backend
    from launchdeck.domain.deployment import Deployment
    from launchdeck.domain.request import ModelLoadRequest

DEFAULT_LOG_LINES: Final = 200
MAX_LOG_LINES: Final = 10_000
LINES_AN_EVENT: Final = 500
LOG_INTERVAL_S: Final = 0.25


async def ping(_backend: Backend, _request: Request) -> ASGIApp:
    return Response(status_code=204)


async def gpus(backend: Backend, _request: Request) -> ASGIApp:
    if backend.gpus_document is None:
        backend.on_inventory(await backend.known_inventory())
    return _json(backend.current_gpus_document() or b"")


async def gpus_stream(backend: Backend, request: Request) -> ASGIApp:
    parts = backend.gpus.follow(_last_id(request), backend.current_gpus_document)
    return EventStream(parts, backend.closing)


async def models(backend: Backend, _request: Request) -> ASGIApp:
    found = await run_apart(lambda: known_models(backend.setup.settings, backend.setup.paths))
    return _json(dumps({"models": [model_document(model) for model in found]}))


async def load(backend: Backend, request: Request) -> ASGIApp:
    """Nobody has looked at an estimate before: what does not fit is refused, unless it is forced."""
    return await _load(backend, request, check_model_path)


async def load_by_hand(backend: Backend, request: Request) -> ASGIApp:
    """The same for the user's own hand, which may name any file."""
    return await _load(backend, request, check_full_path)


async def _load(backend: Backend, request: Request, check_path: CheckPath) -> ASGIApp:
    body = parse(LoadBody, await request.body())
    asked = await _load_request(backend, body, check_path)
    is_forced = getattr(body, "force", False)
    loading = backend.manager.load(asked) if is_forced else backend.manager.load(asked, only_if=backend.planner.refuse)
    return _json(dumps(_started(backend, await loading)), 202)


async def plan(backend: Backend, request: Request) -> ASGIApp:
    asked = await _load_request(backend, parse(LoadBody, await request.body()), check_model_path)
    port = backend.manager.suggest_port()
    if port is None:
        raise no_port(backend.setup.settings.ports)
    planned = await run_apart(lambda: backend.planner.plan(asked, port))
    return _json(dumps(plan_document(planned)))


async def loading_status(backend: Backend, _request: Request) -> ASGIApp:
    return _json(backend.status_document())


async def loading_status_stream(backend: Backend, request: Request) -> ASGIApp:
    return EventStream(backend.status.follow(_last_id(request), backend.status_document), backend.closing)


async def unload(backend: Backend, request: Request) -> ASGIApp:
    """Stop it, and answer when nothing is left, of its record and its log neither."""
    deployment = backend.find(parse(NameBody, await request.body()).model_id)
    ended = await backend.manager.stop(deployment.id)
    if backend.manager.find(deployment.id) is not None:  # else another request for the same was faster
        backend.manager.dismiss(deployment.id)
    gone = {"id": deployment.id, "model_id": deployment.plan.model_id, "status": "stopped", "state": "stopped"}
    note = None if ended.ended_how is None else str(ended.ended_how)
    return _json(dumps(gone | {"was_live": deployment.state.is_live, "note": note}))


async def restart(backend: Backend, request: Request) -> ASGIApp:
    deployment = backend.find(parse(NameBody, await request.body()).model_id)
    return _json(dumps(_started(backend, await backend.manager.restart(deployment.id))), 202)


async def start_with_launchdeck(backend: Backend, request: Request) -> ASGIApp:
    body = parse(MarkBody, await request.body())
    deployment = backend.find(body.model_id)
    model_id = deployment.plan.model_id
    backend.manager.start_list.mark(model_id, deployment.plan.request, marked=body.enabled)
    return _json(dumps({"id": deployment.id, "model_id": model_id, "starts_with_launchdeck": body.enabled}))


async def logs(backend: Backend, request: Request) -> ASGIApp:
    deployment = backend.find(request.path_params["name"])
    lines = backend.manager.log(deployment.id).tail(_line_count(request))
    return _json(dumps({"id": deployment.id, "model_id": deployment.plan.model_id, "lines": lines}))


async def logs_stream(backend: Backend, request: Request) -> ASGIApp:
    deployment = backend.find(request.path_params["name"])
    last_id = _last_id(request)
    if last_id is not None and NUMBER.fullmatch(last_id):
        sequence = int(last_id)
    else:
        line_count, _ = backend.manager.log(deployment.id).lines_since(0)
        sequence = max(0, line_count - _line_count(request))
    return EventStream(_follow_log(backend, deployment.id, sequence), backend.closing)


async def events(backend: Backend, request: Request) -> ASGIApp:
    return EventStream(backend.events.follow(_last_id(request)), backend.closing)


async def hand_over(backend: Backend, request: Request) -> ASGIApp:
    """`launchdeck serve` lets go of its models and ends; a window stays, and says so."""
    parse(EmptyBody, await request.body())
    if not await backend.hand_over():
        raise LaunchdeckError.of(
            Cause.CONFLICT, Message("The window of Launchdeck is open already."), Message("Use that window.")
        )
    return _json(dumps({"handed_over": True}))


async def _load_request(backend: Backend, body: BaseModel, check_path: CheckPath) -> ModelLoadRequest:
    """The request in the body, if its paths and addresses may be used. Raises LaunchdeckError."""
    asked = load_request(body, await backend.known_inventory())
    check_rpc_workers(asked.rpc_workers, backend.setup.settings)
    await run_apart(lambda: check_path(asked.model_path, backend.setup.settings, backend.setup.paths))
    return asked


def _started(backend: Backend, deployment: Deployment) -> dict[str, Any]:
    """What a load answers: where the model will be, and its key."""
    document = backend.document(deployment)
    names = ("id", "model_id", "port", "backend", "engine", "status", "state", "url", "api_key")
    gpus = ("gpu_index", "gpu_indices", "gpu_uuids")
    return {name: document[name] for name in (*names, *gpus)} | {"warnings": [str(w) for w in deployment.plan.warnings]}


async def _follow_log(backend: Backend, deployment_id: str, sequence: int) -> AsyncGenerator[bytes, None]:
    """Lists of lines, numbered by the line that comes next, until the model has ended.

    It reads from the log itself, so nothing piles up for a slow reader.
    """
    loop = asyncio.get_running_loop()
    log = backend.manager.log(deployment_id)
    spoken_s = loop.time()
    while True:
        now = backend.manager.find(deployment_id)
        is_live = now is not None and now.state.is_live
        after, lines = log.lines_since(sequence)
        sequence = after - len(lines)
        for start in range(0, len(lines), LINES_AN_EVENT):
            some = lines[start : start + LINES_AN_EVENT]
            sequence += len(some)
            yield event(str(sequence), dumps(some))
            spoken_s = loop.time()
        if not is_live:
            return
        if loop.time() - spoken_s > HEARTBEAT_S:
            yield HEARTBEAT
            spoken_s = loop.time()
        await asyncio.sleep(LOG_INTERVAL_S)


def _last_id(request: Request) -> str | None:
    return request.headers.get("last-event-id")


def _line_count(request: Request) -> int:
    text = request.query_params.get("lines", str(DEFAULT_LOG_LINES))
    if not NUMBER.fullmatch(text) or not 1 <= int(text) <= MAX_LOG_LINES:
        raise LaunchdeckError.of(
            Cause.BAD_REQUEST, Message("lines has to be a whole number from 1 to {limit}.", limit=MAX_LOG_LINES)
        )
    return int(text)


def _json(body: bytes, status: int = 200) -> Response:
    return Response(body, status, {"cache-control": "no-store"}, media_type="application/json")
