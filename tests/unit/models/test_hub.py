"""Downloads from a hub that breaks off, lies, or is away."""

from __future__ import annotations

import asyncio
import logging
import random
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from fakes.hub import FakeHub
from launchdeck.domain.errors import LaunchdeckError
from launchdeck.models import hub
from launchdeck.network.download import Progress, download
from launchdeck.network.landing import part_path

pytestmark = pytest.mark.usefixtures("plain_network")
MIB = 1024 * 1024
CONTENT = random.Random(7).randbytes(5 * MIB + 123)
REPOSITORY = "them/Tiny-GGUF"


@pytest.fixture
def server(monkeypatch, plain_network):
    server = FakeHub()
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    monkeypatch.setenv("HF_TOKEN", "hf_canary")
    server.files[f"{REPOSITORY}/tiny-q4.gguf"] = CONTENT
    yield server
    server.shutdown()
    server.server_close()


def only_choice() -> hub.Choice:
    (choice,) = hub.choices(REPOSITORY)
    return choice


def fetch(choice: hub.Choice, folder: Path) -> list[Progress]:
    told: list[Progress] = []
    asyncio.run(hub.fetch(choice, folder, told.append))
    return told


def test_a_download_broken_three_times_ends_whole_without_starting_over(server, tmp_path) -> None:
    server.breaks = [MIB, 2 * MIB + 7, 100_000]
    told = fetch(only_choice(), tmp_path)
    assert (tmp_path / REPOSITORY / "tiny-q4.gguf").read_bytes() == CONTENT
    assert len(server.ranges) == 4
    assert server.ranges == sorted(server.ranges)
    assert server.ranges[1] > 0
    assert [p.name for p in (tmp_path / REPOSITORY).iterdir()] == ["tiny-q4.gguf"]
    assert told[-1].done_bytes == told[-1].total_bytes == len(CONTENT)


def test_a_server_that_is_busy_is_asked_again(server, tmp_path) -> None:
    server.refusals = [503, 429]
    fetch(only_choice(), tmp_path)
    assert (tmp_path / REPOSITORY / "tiny-q4.gguf").read_bytes() == CONTENT


def test_a_token_of_the_keyring(server, tmp_path, monkeypatch, caplog) -> None:
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setenv("HF_TOKEN_PATH", str(tmp_path / "no-login"))
    package = tmp_path / "keyring"
    package.mkdir()
    (package / "errors.py").write_text("class KeyringError(Exception): ...\n")
    (package / "__init__.py").write_text(
        "from .errors import KeyringError\n"
        "def get_password(service, user):\n"
        "    if KEY is None: raise KeyringError('locked')\n"
        "    return KEY if (service, user) == ('huggingface', 'launchdeck') else None\n"
        "KEY = 'hf_ring'\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("keyring", "keyring.errors"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    only_choice()
    assert server.tokens[-1] == "Bearer hf_ring"
    sys.modules["keyring"].KEY = None
    only_choice()
    assert server.tokens[-1] is None
    assert "keyring does not answer" in caplog.text
    assert "hf_ring" not in caplog.text


def test_a_mirror_that_lists_no_sizes_is_asked_for_each_file(server, tmp_path) -> None:
    server.lists_sizes = False
    server.files[f"{REPOSITORY}/README.md"] = b"not asked for"
    choice = only_choice()
    assert choice.size_bytes == len(CONTENT)
    assert len(choice.files[0].remote.sha256) == 64
    fetch(choice, tmp_path)
    assert (tmp_path / REPOSITORY / "tiny-q4.gguf").read_bytes() == CONTENT


def test_what_was_begun_is_listed(server, tmp_path) -> None:
    assert hub.begun(tmp_path / "nowhere") == []
    choice = only_choice()
    target = tmp_path / REPOSITORY / "deep" / "tiny-q4.gguf"
    target.parent.mkdir(parents=True)
    part_path(target, choice.files[0].remote).write_bytes(b"x")
    (tmp_path / "stray.part").touch()
    assert hub.begun(tmp_path) == [REPOSITORY]


def test_what_was_fetched_before_a_restart_is_not_fetched_again(server, tmp_path) -> None:
    choice = only_choice()
    target = tmp_path / REPOSITORY / "tiny-q4.gguf"
    target.parent.mkdir(parents=True)
    part_path(target, choice.files[0].remote).write_bytes(CONTENT[: 3 * MIB])
    assert choice.fetched_bytes(tmp_path) == 3 * MIB
    fetch(choice, tmp_path)
    assert server.ranges == [3 * MIB]
    assert target.read_bytes() == CONTENT


def test_a_cancelled_download_keeps_what_has_come(server, tmp_path) -> None:
    choice = only_choice()

    server.hold_at = 3 * MIB

    async def cancel_in_the_middle() -> None:
        task = asyncio.create_task(hub.fetch(choice, tmp_path, lambda now: now.done_bytes >= 2 * MIB and task.cancel()))
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel_in_the_middle())
    assert 2 * MIB <= choice.fetched_bytes(tmp_path) < len(CONTENT)
    server.hold_at = None
    fetch(choice, tmp_path)
    assert server.ranges[-1] >= 2 * MIB
    assert (tmp_path / REPOSITORY / "tiny-q4.gguf").read_bytes() == CONTENT


def test_a_server_without_ranges_begins_anew(server, tmp_path) -> None:
    server.knows_ranges = False
    server.breaks = [MIB]
    fetch(only_choice(), tmp_path)
    assert (tmp_path / REPOSITORY / "tiny-q4.gguf").read_bytes() == CONTENT


def test_another_content_is_refused_and_thrown_away(server, tmp_path) -> None:
    server.wrong_content = True
    with pytest.raises(LaunchdeckError, match="not the file that was announced"):
        fetch(only_choice(), tmp_path)
    assert list((tmp_path / REPOSITORY).iterdir()) == []


def test_a_whole_file_is_not_fetched_again(server, tmp_path) -> None:
    fetch(only_choice(), tmp_path)
    server.ranges.clear()
    fetch(only_choice(), tmp_path)
    assert server.ranges == []


def test_a_full_disk_is_told_before_anything_is_fetched(server, tmp_path, monkeypatch) -> None:
    full = SimpleNamespace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: full)
    with pytest.raises(LaunchdeckError, match="GiB are free there"):
        fetch(only_choice(), tmp_path)
    assert server.ranges == []


def test_an_older_version_of_the_file_is_replaced(server, tmp_path) -> None:
    target = tmp_path / REPOSITORY / "tiny-q4.gguf"
    target.parent.mkdir(parents=True)
    target.write_bytes(b"older")
    assert only_choice().fetched_bytes(tmp_path) == 0
    fetch(only_choice(), tmp_path)
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize(("status", "told"), [(403, r"status 403.*HF_TOKEN"), (404, r"status 404.*Check the name")])
def test_a_refusal_is_told_with_what_to_do(server, tmp_path, status, told) -> None:
    server.refusals = [status]
    remote = only_choice().files[0].remote
    with pytest.raises(LaunchdeckError, match=told):
        asyncio.run(download(remote, tmp_path / "x", lambda _: None))


def test_the_token_is_sent_and_stands_in_no_log(server, tmp_path, caplog) -> None:
    caplog.set_level(logging.DEBUG)
    server.breaks = [MIB]
    choice = only_choice()
    fetch(choice, tmp_path)
    assert "Bearer hf_canary" in server.tokens
    assert "hf_canary" not in caplog.text + repr(choice)


def test_search_finds_repositories(server) -> None:
    server.files["me/other/x.gguf"] = b""
    assert hub.search("tiny") == [REPOSITORY]


def test_parts_are_one_choice_and_a_part_alone_is_none(server) -> None:
    for name in ("big-00001-of-00002.gguf", "big-00002-of-00002.gguf", "half-00001-of-00002.gguf", "mmproj-F16.gguf"):
        server.files[f"{REPOSITORY}/{name}"] = b"x" * len(name)
    assert {choice.name: len(choice.files) for choice in hub.choices(REPOSITORY)} == {
        "mmproj-F16.gguf": 1,
        "big": 2,
        "tiny-q4.gguf": 1,
    }


def test_a_model_in_safetensors_format_is_one_choice(server) -> None:
    names = ("config.json", "tokenizer.json", "model.safetensors", "README.md", "onnx/model.safetensors")
    server.files = {f"me/whole/{name}": name.encode() for name in names}
    (choice,) = hub.choices("me/whole")
    assert [file.name for file in choice.files] == ["config.json", "tokenizer.json", "model.safetensors"]


@pytest.mark.parametrize("name", ["../evil.gguf", "/etc/evil.gguf", "a/../../evil.gguf", "a\\evil.gguf"])
def test_names_that_lead_out_of_the_folder_are_left_out(server, name: str) -> None:
    server.files[f"{REPOSITORY}/{name}"] = b"x"
    assert [choice.name for choice in hub.choices(REPOSITORY)] == ["tiny-q4.gguf"]


@pytest.mark.parametrize("name", ["nobody/nothing", "no repository", "../x"])
def test_a_repository_that_is_not_there_is_told(server, name: str) -> None:
    with pytest.raises(LaunchdeckError):
        hub.choices(name)


def test_an_address_without_a_hub_is_told(server, monkeypatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", f"{server.url}/nowhere")
    with pytest.raises(LaunchdeckError, match=r"127.0.0.1:\d+ does not answer as it should \(status 404\)"):
        hub.search("x")


def test_the_token_goes_to_no_other_server(server, tmp_path) -> None:
    choice = only_choice()
    store = FakeHub()
    store.files = dict(server.files)
    server.leads_to = store.url
    try:
        fetch(choice, tmp_path)
    finally:
        store.shutdown()
        store.server_close()
    assert (tmp_path / REPOSITORY / "tiny-q4.gguf").read_bytes() == CONTENT
    assert server.tokens[-1] == "Bearer hf_canary"
    assert set(store.tokens) == {None}
