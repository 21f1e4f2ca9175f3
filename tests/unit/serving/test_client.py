"""The client of a deployed model, against a real HTTP server with prepared answers."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from random import Random
from typing import Any

import pytest

from fakes.mutations import changed
from launchdeck.domain.errors import Cause, LaunchdeckError
from launchdeck.serving.client import ChatChunk, Embeddings, ToolCallPiece, chat, embed

MESSAGES = ({"role": "user", "content": "Hi"},)


class Server(ThreadingHTTPServer):
    """Answers every POST with `status` and `body`, and keeps what it was asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.status = 200
        self.body = b""
        self.asked: dict[str, Any] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        text = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.asked = {"path": self.path, "key": self.headers["Authorization"], "body": json.loads(text)}
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(self.server.body)))
        self.end_headers()
        self.wfile.write(self.server.body)

    def log_message(self, *arguments: object) -> None:
        """Not on the terminal."""


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def events(*documents: object) -> bytes:
    lines = [f"data: {json.dumps(document)}\n\n" for document in documents]
    return "".join([": a comment\n\n", *lines, "data: [DONE]\n\n"]).encode()


def delta(text: str | None) -> dict[str, Any]:
    return {"choices": [{"delta": {"content": text}}]}


def ask(server: Server, **options: Any) -> list[ChatChunk]:
    async def run() -> list[ChatChunk]:
        return [chunk async for chunk in chat(server.url, "key", "m", MESSAGES, **options)]

    return asyncio.run(run())


def test_an_answer_comes_in_pieces_with_the_engines_own_speed(server: Server) -> None:
    timings = {"predicted_n": 2, "predicted_per_second": 41.5}
    server.body = events(delta(None), delta("Hel"), delta("lo ✓") | {"timings": timings})
    chunks = ask(server, max_tokens=16)
    assert "".join(chunk.text for chunk in chunks) == "Hello ✓"
    assert chunks[-1] == ChatChunk("lo ✓", 2, 41.5)
    assert server.asked["path"] == "/v1/chat/completions"
    assert server.asked["key"] == "Bearer key"
    body = server.asked["body"]
    assert (body["model"], body["messages"], body["stream"], body["max_tokens"]) == ("m", [*MESSAGES], True, 16)


@pytest.mark.parametrize(
    "environment",
    [
        {"HTTP_PROXY": "http://127.0.0.1:9"},
        {"ALL_PROXY": "socks5://127.0.0.1:9"},
        {"all_proxy": "socks://127.0.0.1:9", "http_proxy": "nonsense://"},
        {"SSL_CERT_FILE": "/nowhere/ca.pem", "SSL_CERT_DIR": "/nowhere"},
        {"SSLKEYLOGFILE": "/nowhere/keys"},
    ],
)
@pytest.mark.usefixtures("plain_network")
def test_what_the_environment_says_of_the_way_out_is_of_no_account(
    server: Server, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    server.body = events(delta("Hi"))
    assert ask(server)[0].text == "Hi"
    server.body = json.dumps({"data": [{"index": 0, "embedding": [1.0]}]}).encode()
    assert asyncio.run(embed(server.url, None, "m", ("a",))).dimensions == 1


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
def test_what_a_model_thinks_is_no_part_of_its_answer(server: Server, name: str) -> None:
    """llama-server and vLLM have different names for it; content stays null until it answers."""
    thinking = {"choices": [{"delta": {"content": None, name: "Hm."}}]}
    end = {"choices": [{"delta": {}, "finish_reason": "length"}]}
    server.body = events(delta(None), thinking, end)
    assert ask(server) == [ChatChunk(""), ChatChunk("", thought="Hm."), ChatChunk("", finish_reason="length")]


def test_a_thought_that_comes_under_both_names_is_one(server: Server) -> None:
    server.body = events({"choices": [{"delta": {"reasoning": "Hm.", "reasoning_content": "Hm."}}]})
    assert ask(server) == [ChatChunk("", thought="Hm.")]


def test_the_tools_that_a_model_wants_are_told(server: Server) -> None:
    pieces = [
        {"index": 0, "function": {"name": "weather", "arguments": ""}},
        {"index": 0, "function": {"arguments": "{}"}},
    ]
    calls = [{"choices": [{"delta": {"tool_calls": [piece]}}]} for piece in pieces]
    server.body = events(*calls, {"choices": [{"delta": {"tool_calls": [None, {"function": 3}]}}]})
    told = [chunk.tool_calls for chunk in ask(server)]
    assert told == [(ToolCallPiece("weather", ""),), (ToolCallPiece("", "{}"),), (ToolCallPiece("", ""),)]


def test_whatever_an_engine_answers_is_an_answer_or_a_sentence(
    server: Server, record_property: Callable[[str, object], None]
) -> None:
    """With something wrong in it, hundreds of times: by another program on the port, say, or an engine of tomorrow."""
    timings = {"predicted_n": 2, "predicted_per_second": 41.5}
    call = {"index": 0, "function": {"name": "weather", "arguments": "{}"}}
    other = {"choices": [{"delta": {"reasoning": "Hm", "tool_calls": [call]}, "finish_reason": "length"}]}
    chat_answer = [delta("Hel") | {"timings": timings}, delta("lo"), other]
    vectors = {"data": [{"index": 0, "embedding": [1.0, 2.0]}, {"index": 1, "embedding": [3.0, 4.0]}]}
    count = sentences = 0
    chance = Random(2)
    for _ in range(150):
        count += 2
        documents, answer = changed(chat_answer, chance), changed(vectors, chance)
        try:
            server.body = events(*documents) if isinstance(documents, list) else events(documents)
            for chunk in ask(server):
                assert isinstance(chunk.text, str)
                assert isinstance(chunk.tokens, int | None)
                assert isinstance(chunk.thought, str)
                assert isinstance(chunk.finish_reason, str | None)
        except LaunchdeckError:
            sentences += 1
        try:
            server.body = json.dumps(answer).encode()
            found = asyncio.run(embed(server.url, None, "m", ("a", "b")))
            assert {len(vector) for vector in found.vectors} == {found.dimensions}
        except LaunchdeckError:
            sentences += 1
    record_property("fuzzed", f"answers of engines: {count} inputs, {sentences} told in a sentence")
    assert 0 < sentences < count


def test_vectors_come_in_the_order_of_the_texts(server: Server) -> None:
    entries = [{"index": 1, "embedding": [3.0, 4.0]}, {"index": 0, "embedding": [1.0, 2.0]}]
    server.body = json.dumps({"data": entries}).encode()
    result = asyncio.run(embed(server.url, None, "m", ("a", "b")))
    assert result == Embeddings(((1.0, 2.0), (3.0, 4.0)), 2, result.elapsed_s)
    assert result.elapsed_s > 0
    assert server.asked["body"]["input"] == ["a", "b"]
    assert server.asked["key"] is None


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (401, b'{"error":{"code":401,"message":"Invalid API Key"}}', "Invalid API Key"),
        (503, b'{"error":{"message":"Loading model"}}', "Loading model"),
        (500, b"<html>", "HTTP 500"),
        (404, b'{"error":"File Not Found"}', "File Not Found"),
    ],
)
def test_a_refusal_is_told_in_the_models_words(server: Server, status: int, body: bytes, words: str) -> None:
    server.status, server.body = status, body
    with pytest.raises(LaunchdeckError, match=words):
        ask(server)
    with pytest.raises(LaunchdeckError, match=words):
        asyncio.run(embed(server.url, None, "m", ("a",)))


def test_an_error_in_the_middle_of_an_answer(server: Server) -> None:
    server.body = events(delta("Hel"), {"error": {"message": "context size exceeded"}})
    with pytest.raises(LaunchdeckError, match="context size exceeded"):
        ask(server)


@pytest.mark.parametrize("body", [b"data: {\n\n", b"data: 5\n\n"])
def test_an_answer_that_makes_no_sense(server: Server, body: bytes) -> None:
    server.body = body
    with pytest.raises(LaunchdeckError, match="cannot be read"):
        ask(server)


def test_embeddings_without_a_vector(server: Server) -> None:
    server.body = b'{"data": []}'
    with pytest.raises(LaunchdeckError, match="cannot be read"):
        asyncio.run(embed(server.url, None, "m", ("a",)))


def test_nobody_is_there(server: Server) -> None:
    url = server.url
    server.socket.close()
    with pytest.raises(LaunchdeckError) as caught:
        asyncio.run(embed(url, None, "m", ("a",)))
    assert caught.value.failure.cause is Cause.NOT_FOUND
    assert url in str(caught.value)
