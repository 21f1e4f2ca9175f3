"""Every operation of the interface, declared once: the routes and their description are both made from this."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from pydantic import BaseModel

from launchdeck.api import answers, handlers, metrics
from launchdeck.api.requests import EmptyBody, LoadBody, MarkBody, NameBody

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import ASGIApp

    from launchdeck.api.backend import Backend

EVENTS: Final = "text/event-stream"
LOAD_EXAMPLE: Final = {
    "model_path": "/home/me/models/Qwen3-8B-Q4_K_M.gguf",
    "model_id": "qwen3-8b",
    "server_type": "llm",
    "gpu_index": 0,
    "n_gpu_layers": -1,
    "n_ctx": 8192,
}
NAME_EXAMPLE: Final = {"model_id": "qwen3-8b"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """`answer` is a document, the media type of something else, or None for nothing at all."""

    method: str
    path: str
    handler: Callable[[Backend, Request], Awaitable[ASGIApp]]
    summary: str
    status: int = 200
    answer: type[BaseModel] | str | None
    body: type[BaseModel] | None = None
    example: dict[str, Any] | None = None
    takes_lines: bool = False


def _get(path: str, handler: Any, summary: str, answer: Any, **more: Any) -> Operation:
    return Operation(method="GET", path=path, handler=handler, summary=summary, answer=answer, **more)


def _post(path: str, handler: Any, summary: str, answer: Any, **more: Any) -> Operation:
    return Operation(method="POST", path=path, handler=handler, summary=summary, answer=answer, **more)


# in the order in which a path is looked up: "{name}" may have slashes, so the log itself comes after its stream
OPERATIONS: Final = (
    _get("/api/management/gpus", handlers.gpus, "All GPUs, as last read", answers.Gpus),
    _get("/api/management/gpus/stream", handlers.gpus_stream, "One event a reading of the GPUs", EVENTS),
    _get("/api/management/models", handlers.models, "The models in the library's folders", answers.Models),
    _post(
        "/api/management/handover",
        handlers.hand_over,
        "Have 'launchdeck serve' leave its models to another Launchdeck, and end",
        answers.HandedOver,
        body=EmptyBody,
        example={},
    ),
    _post(
        "/api/inference/load",
        handlers.load,
        "Start a model that fits, or that is forced; loading-status tells how it goes",
        answers.Started,
        status=202,
        body=LoadBody,
        example=LOAD_EXAMPLE,
    ),
    _post(
        "/api/inference/plan",
        handlers.plan,
        "What a load would do, without doing it",
        answers.Plan,
        body=LoadBody,
        example=LOAD_EXAMPLE,
    ),
    _get(
        "/api/inference/loading-status",
        handlers.loading_status,
        "Every model: asked, predicted, applied, measured",
        answers.LoadingStatus,
    ),
    _get(
        "/api/inference/loading-status/stream",
        handlers.loading_status_stream,
        "The document of loading-status whenever it changes",
        EVENTS,
    ),
    _post(
        "/api/inference/unload",
        handlers.unload,
        "Stop a model and forget it; answers when nothing is left of it",
        answers.Stopped,
        body=NameBody,
        example=NAME_EXAMPLE,
    ),
    _post(
        "/api/inference/restart",
        handlers.restart,
        "Stop a model and start it again with the same request",
        answers.Started,
        status=202,
        body=NameBody,
        example=NAME_EXAMPLE,
    ),
    _post(
        "/api/inference/start-with-launchdeck",
        handlers.start_with_launchdeck,
        "Whether a model is started again when Launchdeck starts, after those that were marked before",
        answers.Marked,
        body=MarkBody,
        example={**NAME_EXAMPLE, "enabled": True},
    ),
    _get(
        "/api/inference/logs/{name}/stream",
        handlers.logs_stream,
        "The last lines of a log and all that follow, as lists of lines",
        EVENTS,
        takes_lines=True,
    ),
    _get("/api/inference/logs/{name}", handlers.logs, "The last lines of a log", answers.Logs, takes_lines=True),
    _get("/api/events", handlers.events, "One event a change of a model's state", EVENTS),
    _get("/metrics", metrics.metrics, "Everything for Prometheus", metrics.MEDIA_TYPE),
    _get("/ping", handlers.ping, "Whether anybody is there; needs no token", None, status=204),
)
