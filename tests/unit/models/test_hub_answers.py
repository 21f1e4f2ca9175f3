"""What the hub answers: each value is checked, a bad entry costs itself alone, a whole bad answer is a sentence."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from fakes.hub import FakeHub
from fakes.mutations import changed
from launchdeck.domain.errors import LaunchdeckError
from launchdeck.models import hub
from launchdeck.models.hub_answers import is_repository, is_safe_name, parse_found, parse_repository

pytestmark = pytest.mark.usefixtures("plain_network")
SHA256 = "a" * 64
GOOD = {"rfilename": "tiny-q4.gguf", "size": 5, "lfs": {"sha256": SHA256, "size": 5, "pointerSize": 130}}


@pytest.fixture
def server(monkeypatch, plain_network):
    server = FakeHub()
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    yield server
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        ("them/Tiny-GGUF", True), ("a/b", True), ("a/" + "b" * 96, True), ("A_1.x/b-2.y", True),
        ("tiny", False), ("a/b/c", False), ("a/", False), ("/b", False), ("a/..", False), ("../b", False),
        ("a/b..c", False), ("a/b--c", False), ("a/-b", False), ("a/b.", False), (".a/b", False), ("a/b.git", False),
        ("a/" + "b" * 97, False), ("a/b c", False), ("a/ü", False), ("a/b\n", False), ("a/b?x=1", False),
        ("", False), (None, False), (7, False), (["a/b"], False),
    ],
)  # fmt: skip
def test_what_may_be_a_repository(name: object, is_one: bool) -> None:
    assert is_repository(name) is is_one


@pytest.mark.parametrize(
    ("name", "is_safe"),
    [
        ("tiny.gguf", True), ("Q4/tiny.gguf", True), ("모델.gguf", True), ("a b.gguf", True),
        ("../x.gguf", False), ("a/../x.gguf", False), ("/x.gguf", False), ("a//x.gguf", False), ("./x.gguf", False),
        ("a/./x.gguf", False), ("a/x.gguf/", False), ("a\\x.gguf", False), ("a\0x.gguf", False), ("a\nx.gguf", False),
        ("x" * 300, False), ("é" * 200, False), ("/".join("a" * 20), False), ("", False), (".", False), ("..", False),
        ("\ud800.gguf", False), (None, False), (7, False),
    ],
)  # fmt: skip
def test_names_that_stay_in_their_folder(name: object, is_safe: bool) -> None:
    assert is_safe_name(name) is is_safe


@pytest.mark.parametrize(
    "bad",
    [
        None, 7, [], {}, {"rfilename": None}, {"rfilename": ["x.gguf"]}, {**GOOD, "rfilename": "../x.gguf"},
        {**GOOD, "rfilename": "x" * 300 + ".gguf"}, {**GOOD, "size": "5"}, {**GOOD, "size": -1}, {**GOOD, "size": True},
        {**GOOD, "size": 1 << 60}, {**GOOD, "size": 5.0}, {**GOOD, "lfs": []}, {**GOOD, "lfs": {}},
        {**GOOD, "lfs": {"sha256": 7}}, {**GOOD, "lfs": {"sha256": "A" * 64}}, {**GOOD, "lfs": {"sha256": "a" * 63}},
    ],
)  # fmt: skip
def test_a_bad_file_costs_itself_alone_and_is_told(bad: object, caplog) -> None:
    (found,) = parse_repository({"siblings": [bad, {**GOOD, "rfilename": "good.gguf"}]}, "here")
    assert (found.name, found.size_bytes, found.sha256) == ("good.gguf", 5, SHA256)
    assert "here answered with 1 entries that cannot be used" in caplog.text


def test_what_no_model_needs_is_left_out_without_a_word(caplog) -> None:
    others = [{"rfilename": "README.md"}, {"rfilename": "../x.png"}, {"rfilename": "a.bin", "size": "?"}]
    assert parse_repository({"siblings": others}, "here") == []
    assert caplog.text == ""


def test_the_same_name_twice_is_one_file() -> None:
    files = [GOOD, {**GOOD, "size": 6}]
    assert [file.size_bytes for file in parse_repository({"siblings": files}, "here")] == [5]


def test_a_bad_repository_costs_itself_alone_and_is_told(caplog) -> None:
    entries = [None, 7, {"id": 7}, {"id": "../x"}, {"id": "a/b/c"}, {"id": "them/tiny"}, {"id": "them/tiny"}, {}]
    assert parse_found(entries, "here") == ["them/tiny"]
    assert "6 entries that cannot be used" in caplog.text


@pytest.mark.parametrize("document", [None, {}, 7, "x", {"error": "x"}, {"siblings": None}, {"siblings": {}}])
def test_a_whole_bad_answer_is_a_sentence(document: object) -> None:
    with pytest.raises(LaunchdeckError, match="The answer of here cannot be read: it is no list of repositories"):
        parse_found(document, "here")
    with pytest.raises(LaunchdeckError, match="The answer of here cannot be read: it is no list of files"):
        parse_repository(document, "here")


@pytest.mark.parametrize("body", [b"", b"{", b"[[[", b'"x"', b"null", b"\xff"])
def test_whatever_comes_a_person_reads_a_sentence(server, body: bytes) -> None:
    for ask in (lambda: hub.search("x"), lambda: hub.choices("them/tiny")):
        server.answers = [(200, {"Content-Type": "application/json"}, body)]
        with pytest.raises(LaunchdeckError, match="cannot be read"):
            ask()


def test_no_answer_of_a_server_leads_out_of_the_folder_or_ends_in_anything_but_a_sentence(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    names = [
        "tiny-q4.gguf",
        "Q8/tiny-00001-of-00002.gguf",
        "Q8/tiny-00002-of-00002.gguf",
        "config.json",
        "a.safetensors",
    ]
    repository = {"id": "them/tiny", "siblings": [{**GOOD, "rfilename": name} for name in names]}
    found = [{"id": "them/tiny", "downloads": 1}, {"id": "me/other"}]
    count = sentences = files = 0
    chance = Random(5)
    for _ in range(6000):
        count += 1
        document = changed([repository, found], chance)
        for at, parse in enumerate((parse_repository, parse_found)):
            try:
                entries = parse(document[at], "here") if isinstance(document, list) and len(document) > at else []
            except LaunchdeckError:
                sentences += 1
                continue
            for entry in entries:
                files += 1
                name = entry if isinstance(entry, str) else entry.name
                place = (tmp_path / name).resolve()
                assert tmp_path in place.parents
                assert max(len(part.encode()) for part in place.parts) < 230
                assert isinstance(entry, str) or entry.size_bytes is None or 0 <= entry.size_bytes < 1 << 51
    record_property(
        "fuzzed", f"answers of the hub: {count} inputs, {sentences} told in a sentence, {files} entries of the rest"
    )
    assert files > count


def test_choices_of_strange_answers_are_choices_or_a_sentence(
    server, record_property: Callable[[str, object], None]
) -> None:
    """The whole way, over the network; the mirror's answers are JSON that may hold anything."""
    names = ["config.json", "m.safetensors", *(f"q{bits}.gguf" for bits in range(2, 9))]
    valid = {"siblings": [{**GOOD, "rfilename": name} for name in names]}
    count = told = 0
    chance = Random(3)
    for _ in range(100):
        count += 1
        answer = json.dumps(changed(valid, chance)).encode()
        server.answers = [(200, {"Content-Type": "application/json"}, answer)]
        try:
            for choice in hub.choices("them/tiny"):
                assert choice.size_bytes >= 0
        except LaunchdeckError:
            told += 1
    record_property("fuzzed", f"answers of the hub, over the network: {count} inputs, {told} told in a sentence")
    assert told < count / 2
