"""The ASGI application: the gate, the routes, and refusals in words."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import cache, partial
from http import HTTPStatus
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from launchdeck.api.documents import dumps
from launchdeck.api.gate import HttpGate
from launchdeck.api.openapi import docs_page, openapi_document
from launchdeck.api.operations import OPERATIONS, Operation
from launchdeck.api.problems import MEDIA_TYPE, Problem
from launchdeck.domain.errors import LaunchdeckError

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from launchdeck.api.backend import Backend

logger = logging.getLogger(__name__)

Handler = Callable[[Request], Awaitable["ASGIApp"]]


def asgi_application(backend: Backend, *, token: str, port: int) -> ASGIApp:
    """All of the interface, for one start on one port."""
    url = f"http://127.0.0.1:{port}"
    routes = [_route(operation, backend) for operation in OPERATIONS]
    routes.append(Route("/openapi.json", _described(lambda: openapi_document(OPERATIONS, url), "application/json")))
    routes.append(Route("/docs", _described(lambda: docs_page(OPERATIONS, url), HTMLResponse.media_type)))
    return HttpGate(_application(routes), token=token, port=port)


def application_of(handlers: Mapping[str, Handler]) -> ASGIApp:
    """One that answers POST at these paths, and nothing else; without a gate."""
    routes = (Route(path, partial(_answer, handler), methods=["POST"]) for path, handler in handlers.items())
    return _application([*routes])


def _application(routes: Sequence[Route]) -> Starlette:
    application = Starlette(routes=routes, exception_handlers={HTTPException: _on_http_exception})
    application.router.redirect_slashes = False
    return application


def _route(operation: Operation, backend: Backend) -> Route:
    path = operation.path.replace("{name}", "{name:path}")  # models may be named like "org/name"
    return Route(path, partial(_answer, partial(operation.handler, backend)), methods=[operation.method])


async def _answer(handler: Handler, request: Request) -> ASGIApp:
    """What the handler gives; a failure becomes a problem document, a mistake of ours one without details."""
    try:
        return await handler(request)
    except LaunchdeckError as error:
        return _problem(Problem.of(error.failure))
    except Exception:
        logger.exception("%s %s failed", request.method, request.url.path)
        detail = "Launchdeck made a mistake; its log has the details."
        return _problem(Problem(HTTPStatus.INTERNAL_SERVER_ERROR, "unexpected", detail))


def _described(describe: Callable[[], object], media_type: str | None) -> Callable[[Request], Awaitable[Response]]:
    """What is made once, in another thread, when somebody asks for it first: that takes a tenth of a second."""

    @cache
    def body() -> bytes:
        made = describe()
        return made.encode() if isinstance(made, str) else dumps(made)

    async def give(_request: Request) -> Response:
        return Response(await asyncio.to_thread(body), media_type=media_type)

    return give


async def _on_http_exception(request: Request, error: Exception) -> Response:
    """No such path, or not with this method."""
    if not isinstance(error, HTTPException):
        raise error
    detail = f"There is no {request.method} {request.url.path} here; /docs has all there is."
    kind = HTTPStatus(error.status_code).name.lower()
    return _problem(Problem(error.status_code, kind, detail, headers=error.headers or {}))


def _problem(problem: Problem) -> Response:
    return Response(problem.body(), problem.status, dict(problem.headers), media_type=MEDIA_TYPE)
