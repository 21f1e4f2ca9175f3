"""A client of a deployed model: the OpenAI-compatible interface that llama-server and vLLM share."""

from __future__ import annotations

import asyncio
import importlib
import json
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from launchdeck.domain.errors import Cause, LaunchdeckError
from launchdeck.domain.text import Message

if TYPE_CHECKING:
    import httpx

CONNECT_TIMEOUT_S = 5.0
_DATA = "data:"
_END = "[DONE]"


@dataclass(frozen=True, slots=True)
class ChatChunk:
    """The next piece of an answer. `tokens` counts all of the answer so far and `tokens_per_s` is the engine's own
    measurement of it; None where the engine does not tell.
    """

    text: str
    tokens: int | None = None
    tokens_per_s: float | None = None


@dataclass(frozen=True, slots=True)
class Embeddings:
    """One vector a text, in order, each of `dimensions` numbers."""

    vectors: tuple[tuple[float, ...], ...]
    dimensions: int
    elapsed_s: float


async def chat(
    base_url: str,
    api_key: str | None,
    model_id: str,
    messages: Sequence[Mapping[str, str]],
    *,
    max_tokens: int | None = None,
    temperature: float | None = None,
) -> AsyncIterator[ChatChunk]:
    """The answer as it is made. Closing the iterator makes the engine stop. What is None is left to the engine.

    Raises:
        LaunchdeckError: the model does not answer, or refuses.
    """
    body: dict[str, Any] = {
        "model": model_id,
        "messages": [dict(message) for message in messages],
        "stream": True,
        "timings_per_token": True,
    }
    choices = {"max_tokens": max_tokens, "temperature": temperature}
    body |= {name: value for name, value in choices.items() if value is not None}
    async with (
        _session(base_url, api_key) as session,
        session.stream("POST", f"{base_url}/chat/completions", json=body) as response,
    ):
        if response.is_error:
            await response.aread()
            raise _refused(response)
        async for line in response.aiter_lines():
            data = line.removeprefix(_DATA).strip() if line.startswith(_DATA) else ""
            if data == _END:
                return
            if data:
                yield _chunk(_decode(data))


async def embed(base_url: str, api_key: str | None, model_id: str, texts: Sequence[str]) -> Embeddings:
    """The vectors of these texts.

    Raises:
        LaunchdeckError: the model does not answer, or refuses.
    """
    started_s = time.perf_counter()
    async with _session(base_url, api_key) as session:
        response = await session.post(f"{base_url}/embeddings", json={"model": model_id, "input": list(texts)})
    if response.is_error:
        raise _refused(response)
    entries = sorted(_decode(response.text).get("data", ()), key=lambda entry: int(entry["index"]))
    vectors = tuple(tuple(entry["embedding"]) for entry in entries)
    if not vectors:
        raise _unreadable(response.text)
    return Embeddings(vectors, len(vectors[0]), time.perf_counter() - started_s)


@asynccontextmanager
async def _session(base_url: str, api_key: str | None) -> AsyncIterator[httpx.AsyncClient]:
    """A session without proxies, which have no business with a model on this machine; its errors become ours.

    An answer may take as long as it takes: who waits can cancel.
    """
    http = await asyncio.to_thread(importlib.import_module, "httpx")  # its import takes longer than a frame
    headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
    timeout = http.Timeout(None, connect=CONNECT_TIMEOUT_S)
    try:
        async with http.AsyncClient(headers=headers, timeout=timeout, trust_env=False) as session:
            yield session
    except http.HTTPError as error:
        raise LaunchdeckError.of(
            Cause.NOT_FOUND,
            Message("The model at {url} does not answer ({reason}).", url=base_url, reason=str(error) or repr(error)),
            Message("Check in the list of deployments that it runs."),
        ) from error


def _chunk(event: dict[str, Any]) -> ChatChunk:
    if "error" in event:
        raise _failed(event)
    choices = event.get("choices") or [{}]
    timings = event.get("timings") or {}
    text = (choices[0].get("delta") or {}).get("content") or ""
    return ChatChunk(text, timings.get("predicted_n"), timings.get("predicted_per_second"))


def _decode(text: str) -> dict[str, Any]:
    try:
        document = json.loads(text)
    except ValueError as error:
        raise _unreadable(text) from error
    if not isinstance(document, dict):
        raise _unreadable(text)
    return document


def _refused(response: httpx.Response) -> LaunchdeckError:
    try:
        return _failed(_decode(response.text))
    except LaunchdeckError:
        return _failed({"error": f"HTTP {response.status_code}"})


def _failed(document: dict[str, Any]) -> LaunchdeckError:
    error = document.get("error")
    reason = error.get("message") if isinstance(error, dict) else error
    return LaunchdeckError.of(Cause.BAD_REQUEST, Message("The model refused: {reason}", reason=reason or document))


def _unreadable(text: str) -> LaunchdeckError:
    return LaunchdeckError.of(
        Cause.START_FAILED, Message("The model's answer cannot be read: {text}", text=repr(text[:200]))
    )
