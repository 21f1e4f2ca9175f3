"""A listener at /api/events of the real application."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any, Self

import httpx

from e2e.real_application import DEADLINE_S

if TYPE_CHECKING:
    from e2e.real_application import RealApplication


class Events:
    """What /api/events tells from the moment this is entered."""

    def __init__(self, app: RealApplication) -> None:
        self._app = app
        self._seen: list[dict[str, Any]] = []
        self._open = threading.Event()
        self._client = httpx.Client(base_url=app.http.base_url, headers=dict(app.http.headers), timeout=60)
        self._reading = threading.Thread(target=self._read, daemon=True)

    def __enter__(self) -> Self:
        self._reading.start()
        assert self._open.wait(DEADLINE_S)
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def _read(self) -> None:
        try:
            with self._client.stream("GET", "/api/events") as answer:
                self._open.set()
                for line in answer.iter_lines():
                    if line.startswith("data: "):
                        self._seen.append(json.loads(line[6:]))
        except (httpx.HTTPError, RuntimeError):
            return  # it was closed

    def states(self, deployment_id: str) -> list[str]:
        return [event["state"] for event in list(self._seen) if event["id"] == deployment_id]

    def all(self) -> dict[str, list[str]]:
        return {key: self.states(key) for key in {event["id"] for event in list(self._seen)}}
