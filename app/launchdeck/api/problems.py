"""Refusals as problem documents (RFC 9457), with the same words and fixes as the window has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final

from launchdeck.api.documents import dumps, failure_document
from launchdeck.domain.errors import Cause, Failure

MEDIA_TYPE: Final = "application/problem+json"

_STATUS: Final = {
    Cause.BAD_REQUEST: HTTPStatus.BAD_REQUEST,
    Cause.NOT_FOUND: HTTPStatus.NOT_FOUND,
    Cause.CONFLICT: HTTPStatus.CONFLICT,
    Cause.NO_PORT: HTTPStatus.CONFLICT,
    Cause.PORT_TAKEN: HTTPStatus.CONFLICT,
    Cause.OUT_OF_MEMORY: HTTPStatus.CONFLICT,
    Cause.OUTSIDE_LIBRARY: HTTPStatus.FORBIDDEN,
    Cause.BAD_NAME: HTTPStatus.UNPROCESSABLE_ENTITY,
    Cause.BAD_GPU: HTTPStatus.UNPROCESSABLE_ENTITY,
    Cause.MODEL_UNUSABLE: HTTPStatus.UNPROCESSABLE_ENTITY,
    Cause.ENGINE_MISSING: HTTPStatus.UNPROCESSABLE_ENTITY,
    Cause.ENGINE_UNSUITED: HTTPStatus.UNPROCESSABLE_ENTITY,
    Cause.NOT_READY: HTTPStatus.SERVICE_UNAVAILABLE,
    Cause.DISK_FULL: HTTPStatus.INSUFFICIENT_STORAGE,
}


@dataclass(frozen=True, slots=True)
class Problem:
    """`kind` is for programs and the end of the document's `type`; `detail` is for people."""

    status: int
    kind: str
    detail: str
    extra: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, failure: Failure) -> Problem:
        document = failure_document(failure)
        return cls(
            status=_STATUS.get(failure.cause, HTTPStatus.INTERNAL_SERVER_ERROR),
            kind=str(failure.cause),
            detail=str(failure.message),
            extra={name: document[name] for name in ("cause", "advice", "evidence", "fixes")},
        )

    def body(self) -> bytes:
        """The document. Its `type` leads to the page that explains it."""
        status = HTTPStatus(self.status)
        document = {
            "type": f"/docs#{self.kind}",
            "title": status.phrase,
            "status": int(status),
            "detail": self.detail,
            **self.extra,
        }
        return dumps(document)
