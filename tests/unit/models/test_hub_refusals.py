"""A hub that cannot be asked or refuses: each reason has a sentence of its own, with what to do."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys

import pytest

from fakes.hub import FakeHub
from fakes.socks import FakeSocks
from launchdeck.domain.errors import LaunchdeckError
from launchdeck.models import hub, hub_access

REPOSITORY = "them/Tiny-GGUF"
BAD_TOKEN = {"X-Error-Message": "Invalid credentials in Authorization header"}


@pytest.fixture
def server(monkeypatch, plain_network, tmp_path):
    server = FakeHub()
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    monkeypatch.setattr(hub_access, "_refused", set())
    server.files[f"{REPOSITORY}/tiny-q4.gguf"] = b"tiny" * 1000
    yield server
    server.shutdown()
    server.server_close()


def refuse(server: FakeHub, status: int, headers: dict[str, str], error: str = "no") -> None:
    server.answers.append(
        (status, {"Content-Type": "application/json", **headers}, json.dumps({"error": error}).encode())
    )


def test_a_token_that_is_not_valid_is_told_and_the_same_is_asked_without_it(server, monkeypatch, caplog) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_expired")
    refuse(server, 401, BAD_TOKEN)
    told: list[str] = []
    assert hub.search("tiny", lambda note: told.append(str(note))) == [REPOSITORY]
    assert told == ["The token of HF_TOKEN is not valid: the hub was asked without it."]
    assert server.tokens == ["Bearer hf_expired", None]
    assert "hf_expired" not in caplog.text
    (choice,) = hub.choices(REPOSITORY, lambda note: told.append(str(note)))
    assert server.tokens[2:] == [None]
    assert choice.files[0].remote.headers == {}
    assert len(told) == 1


def test_a_token_that_was_renewed_is_sent_again(server, monkeypatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_expired")
    refuse(server, 401, BAD_TOKEN)
    hub.search("tiny")
    monkeypatch.setenv("HF_TOKEN", "hf_renewed")
    hub.search("tiny")
    assert server.tokens[-1] == "Bearer hf_renewed"


def test_a_token_that_is_not_valid_for_what_needs_one(server, monkeypatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_expired")
    refuse(server, 401, BAD_TOKEN)
    refuse(server, 401, {"X-Error-Code": "RepoNotFound"})
    with pytest.raises(LaunchdeckError, match=r"does not take the token of HF_TOKEN: it is not valid.*hf auth login"):
        hub.choices(REPOSITORY)


@pytest.mark.parametrize("token", ["hf_ü", "hf_ x", "hf_\x1b", "x" * 10_000])
def test_what_can_be_no_token_is_not_even_sent(server, monkeypatch, token: str) -> None:
    monkeypatch.setenv("HF_TOKEN", token)
    told: list[str] = []
    assert hub.search("tiny", lambda note: told.append(str(note))) == [REPOSITORY]
    assert server.tokens == [None]
    assert "The token of HF_TOKEN is not valid" in told[0]


def test_a_token_that_cannot_be_read_costs_itself_alone(server, monkeypatch, tmp_path, caplog) -> None:
    from huggingface_hub import constants

    os.mkfifo(tmp_path / "token")
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    assert hub.search("tiny") == [REPOSITORY]
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "bytes"))
    assert hub.search("tiny") == [REPOSITORY]
    assert caplog.text.count("none is sent") == 2


@pytest.mark.parametrize("variable", ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"])
@pytest.mark.parametrize("value", ["1", "true", "YES", "on"])
def test_an_environment_that_wants_nothing_asked(server, monkeypatch, variable: str, value: str) -> None:
    monkeypatch.setenv(variable, value)
    for ask in (lambda: hub.search("x"), lambda: hub.choices(REPOSITORY)):
        with pytest.raises(LaunchdeckError, match=f"{variable} is set in the environment.*Remove the variable"):
            ask()
    monkeypatch.setenv(variable, "0")
    assert hub.search("tiny") == [REPOSITORY]


@pytest.mark.parametrize("address", ["nonsense", "ftp://hub.test", "http://", "http://[", "https://a b", "hub.test"])
def test_an_endpoint_that_is_no_address(server, monkeypatch, address: str) -> None:
    monkeypatch.setenv("HF_ENDPOINT", address)
    with pytest.raises(LaunchdeckError, match=r"HF_ENDPOINT names .* as the hub, which is no address"):
        hub.search("x")


@pytest.mark.parametrize(
    "name", ["tiny", "a/b/c", "../x", "a/..", "a/b c", "a/" + "b" * 200, "a/b--c", "", "ü/x", "a/b.git"]
)
def test_a_name_that_the_hub_would_refuse(server, name: str) -> None:
    with pytest.raises(LaunchdeckError, match=r"is no repository.*OWNER/NAME"):
        hub.choices(name)
    assert server.asked == []


@pytest.mark.parametrize(
    ("status", "headers", "told"),
    [
        (
            401,
            {"X-Error-Code": "GatedRepo"},
            r"them/Tiny-GGUF is given only to those who have accepted its terms.*HF_TOKEN",
        ),
        (403, {"X-Error-Code": "GatedRepo"}, r"accepted its terms"),
        (403, {"X-Error-Message": "Access to this resource is disabled."}, r"The hub has locked them/Tiny-GGUF"),
        (401, {"X-Error-Code": "RepoNotFound"}, r"has no them/Tiny-GGUF, or not for everybody.*Check the name"),
        (404, {"X-Error-Code": "RepoNotFound"}, r"has no them/Tiny-GGUF"),
        (404, {}, r"has no them/Tiny-GGUF"),
        (403, {}, r"or not for everybody \(status 403\)"),
        (429, {}, r"was asked too often.*in some minutes"),
        (429, {"Retry-After": "77"}, r"was asked too often.*Try again in 77 s"),
        (429, {"RateLimit": '"api";r=0;t=55'}, r"Try again in 55 s"),
        (429, {"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}, r"in some minutes"),
        (407, {}, r"proxy of this network wants a name and a password.*NAME:PASSWORD"),
        (400, {}, r"does not answer as it should \(status 400\)"),
        (500, {}, r"does not answer as it should \(status 500\)"),
        (503, {}, r"status 503"),
    ],
)
def test_each_refusal_has_its_sentence(server, status: int, headers: dict[str, str], told: str) -> None:
    refuse(server, status, headers)
    with pytest.raises(LaunchdeckError, match=told):
        hub.choices(REPOSITORY)


def test_a_refusal_is_told_at_once_and_asked_once(server) -> None:
    """The hub's own library would wait and ask again, for as long as the hub says."""
    refuse(server, 429, {"Retry-After": "3600"})
    with pytest.raises(LaunchdeckError, match="3600 s"):
        hub.search("x")
    assert len(server.asked) == 1


def test_the_log_in_page_of_a_network(server, tmp_path) -> None:
    (choice,) = hub.choices(REPOSITORY)
    server.page = b"<html>Please log in</html>"
    asks = (
        lambda: hub.search("x"),
        lambda: hub.choices(REPOSITORY),
        lambda: asyncio.run(hub.fetch(choice, tmp_path, lambda _: None)),
    )
    for ask in asks:
        with pytest.raises(LaunchdeckError, match="log-in page of this network"):
            ask()
    assert not (tmp_path / REPOSITORY / "tiny-q4.gguf").exists()


def test_search_and_download_go_through_a_socks_proxy(server, monkeypatch, tmp_path) -> None:
    socks = FakeSocks(("127.0.0.1", server.server_address[1]))
    monkeypatch.setenv("HF_ENDPOINT", "http://hub.test")
    monkeypatch.setenv("ALL_PROXY", f"socks://{socks.address}/")
    try:
        assert hub.search("tiny") == [REPOSITORY]
        (choice,) = hub.choices(REPOSITORY)
        asyncio.run(hub.fetch(choice, tmp_path, lambda _: None))
    finally:
        socks.close()
    assert (tmp_path / REPOSITORY / "tiny-q4.gguf").read_bytes() == b"tiny" * 1000
    assert set(socks.asked) == {("hub.test", 80)}
    assert len(socks.asked) == 3


@pytest.mark.parametrize("name", ["HF_HUB_ETAG_TIMEOUT", "HF_HUB_DOWNLOAD_TIMEOUT"])
def test_a_variable_of_the_hubs_library_that_is_no_number_costs_its_token_alone(name: str) -> None:
    """The library reads it when it is imported."""
    script = "from launchdeck.models.hub_access import token; print(token(print))"
    environment = {**os.environ, name: "soon", "HF_TOKEN": "hf_abc"}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "HF_TOKEN" in done.stdout
