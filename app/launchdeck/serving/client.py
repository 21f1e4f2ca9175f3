"""A client of a deployed model: the OpenAI-compatible interface that llama-server and vLLM share."""

from __future__ import annotations

import asyncio
import importlib
import ssl
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from launchdeck.domain.errors import Cause, LaunchdeckError
from launchdeck.domain.text import Message
from launchdeck.files.reading import parse_json

if TYPE_CHECKING:
    import httpx

CONNECT_TIMEOUT_S = 5.0
_DATA = "data:"
_END = "[DONE]"
# Trusts nobody, as nobody is asked over TLS. httpx would make one that reads certificates, and the files that the
# environment names.
_NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


@dataclass(frozen=True, slots=True)
class ToolCallPiece:
    """A piece of a call: the first one has the name, the arguments (JSON) come in pieces."""

    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class ChatChunk:
    """The next piece of an answer. `tokens` counts all of the answer so far and `tokens_per_s` is the engine's own
    measurement of it; None where the engine does not tell.

    `thought` is what a model says to itself first, `tool_calls` what it wants to have called, and `finish_reason` why
    the answer has ended ("stop", "length", ...), None before its end.
    """

    text: str
    tokens: int | None = None
    tokens_per_s: float | None = None
    thought: str = ""
    tool_calls: tuple[ToolCallPiece, ...] = ()
    finish_reason: str | None = None


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
    vectors = _vectors(_decode(response.text))
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
        async with http.AsyncClient(headers=headers, timeout=timeout, trust_env=False, verify=_NO_TLS) as session:
            yield session
    except http.HTTPError as error:
        raise LaunchdeckError.of(
            Cause.NOT_FOUND,
            Message("The model at {url} does not answer ({reason}).", url=base_url, reason=str(error) or repr(error)),
            Message("Check in the list of deployments that it runs."),
        ) from error


def _chunk(event: dict[str, Any]) -> ChatChunk:
    """What is not of its kind counts as not told: an engine may tell more, and otherwise, than we know."""
    if "error" in event:
        raise _failed(event)
    choices = event.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    delta, timings = _entry(choice, "delta"), event.get("timings")
    tokens, per_s = _entry(timings, "predicted_n"), _entry(timings, "predicted_per_second")
    calls = _entry(delta, "tool_calls")
    functions = [_entry(call, "function") for call in calls] if isinstance(calls, list) else []
    return ChatChunk(
        _text(delta, "content"),
        tokens if type(tokens) is int else None,
        float(per_s) if type(per_s) in {int, float} else None,
        # llama-server's name for it, which vLLM had as well; and vLLM's of today, which may tell both
        _text(delta, "reasoning_content") or _text(delta, "reasoning"),
        tuple(ToolCallPiece(_text(one, "name"), _text(one, "arguments")) for one in functions if one is not None),
        _text(choice, "finish_reason") or None,
    )


def _vectors(document: dict[str, Any]) -> tuple[tuple[float, ...], ...]:
    """In the order of the texts; none where not all of them are vectors of one length."""
    entries = document.get("data")
    by_index: dict[int, tuple[float, ...]] = {}
    for entry in entries if isinstance(entries, list) else ():
        index, vector = _entry(entry, "index"), _entry(entry, "embedding")
        if type(index) is not int or not isinstance(vector, list) or {*map(type, vector)} - {int, float}:
            return ()
        by_index[index] = tuple(vector)
    vectors = tuple(by_index[index] for index in sorted(by_index))
    return vectors if vectors and {len(vector) for vector in vectors} == {len(vectors[0]) or None} else ()


def _text(value: Any, name: str) -> str:
    text = _entry(value, name)
    return text if isinstance(text, str) else ""


def _entry(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, dict) else None


def _decode(text: str) -> dict[str, Any]:
    try:
        document = parse_json(text)
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
