"""One file from a server into its place: what lies there is not believed unseen, and not lost too early."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import random
import time
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path

import pytest

from fakes.hub import FakeHub
from launchdeck.domain.errors import Cause, LaunchdeckError
from launchdeck.models.hub import begun
from launchdeck.models.hub_access import refused
from launchdeck.network import landing, transfer
from launchdeck.network.download import Progress, download_all
from launchdeck.network.landing import fetched_bytes, part_path
from launchdeck.network.remote_file import NamedFile, RemoteFile

pytestmark = pytest.mark.usefixtures("plain_network")
MIB = 1 << 20
CONTENT = random.Random(1).randbytes(2 * MIB + 77)
OTHER = bytes(len(CONTENT))
SHA256 = hashlib.sha256(CONTENT).hexdigest()
NAME = "them/Tiny-GGUF/tiny.gguf"


@pytest.fixture
def server(monkeypatch) -> Iterator[FakeHub]:
    monkeypatch.setattr(transfer, "_FIRST_PAUSE_S", 0.01)
    server = FakeHub()
    server.files = {NAME: CONTENT}
    yield server
    server.go_on.set()
    server.shutdown()
    server.server_close()


def remote(server: FakeHub, sha256: str | None = SHA256, size: int = len(CONTENT)) -> RemoteFile:
    return RemoteFile(f"{server.url}/them/Tiny-GGUF/resolve/main/tiny.gguf", size, sha256, explain=refused)


def fetch(file: RemoteFile, folder: Path) -> list[Progress]:
    told: list[Progress] = []
    asyncio.run(download_all([NamedFile("tiny.gguf", file)], folder, told.append))
    return told


def test_a_file_of_equal_length_is_looked_at_and_a_wrong_one_fetched_again(server, tmp_path) -> None:
    target = tmp_path / "tiny.gguf"
    target.write_bytes(OTHER)
    told = fetch(remote(server), tmp_path)
    assert target.read_bytes() == CONTENT
    assert any(now.is_checking for now in told)
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.gguf"]


def test_the_old_one_stays_until_the_new_one_is_there_and_right(server, tmp_path) -> None:
    target = tmp_path / "tiny.gguf"
    target.write_bytes(OTHER)
    server.wrong_content = True
    server.files[NAME] = CONTENT[:-1] + b"x"
    with pytest.raises(LaunchdeckError, match="is not the file that was announced"):
        fetch(remote(server), tmp_path)
    assert target.read_bytes() == OTHER
    server.breaks = [1000] * 20
    with pytest.raises(LaunchdeckError):
        fetch(remote(server, "b" * 64), tmp_path)
    assert target.read_bytes() == OTHER


def test_the_right_one_is_looked_at_once_and_not_fetched(server, tmp_path, monkeypatch) -> None:
    target = tmp_path / "tiny.gguf"
    target.write_bytes(CONTENT)
    assert any(now.is_checking for now in fetch(remote(server), tmp_path))
    assert not any(now.is_checking for now in fetch(remote(server), tmp_path))
    assert server.asked == []
    target.write_bytes(OTHER)
    fetch(remote(server), tmp_path)
    assert target.read_bytes() == CONTENT


def test_what_this_run_has_fetched_is_not_looked_at_again(server, tmp_path) -> None:
    fetch(remote(server), tmp_path)
    assert not any(now.is_checking for now in fetch(remote(server), tmp_path))


def test_without_a_checksum_the_size_alone_counts(server, tmp_path) -> None:
    (tmp_path / "tiny.gguf").write_bytes(OTHER)
    fetch(remote(server, None), tmp_path)
    assert server.asked == []


def test_a_checksum_that_is_looked_at_can_be_cancelled(server, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(landing, "_CHUNK_BYTES", 64)
    (tmp_path / "tiny.gguf").write_bytes(CONTENT)

    async def cancel_soon() -> None:
        task = asyncio.ensure_future(
            download_all([NamedFile("tiny.gguf", remote(server))], tmp_path, lambda _: task.cancel())
        )
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel_soon())
    assert (tmp_path / "tiny.gguf").read_bytes() == CONTENT


@pytest.mark.parametrize("sha256", [SHA256, None])
def test_a_part_that_is_longer_than_the_file_begins_anew(server, tmp_path, sha256: str | None) -> None:
    part_path(tmp_path / "tiny.gguf", remote(server, sha256)).write_bytes(CONTENT + b"more")
    assert fetched_bytes(tmp_path / "tiny.gguf", remote(server, sha256)) == 0
    fetch(remote(server, sha256), tmp_path)
    assert (tmp_path / "tiny.gguf").read_bytes() == CONTENT
    assert server.ranges == [0]


def a_folder(path: Path) -> None:
    path.mkdir()
    (path / "precious").touch()


def a_link(path: Path) -> None:
    (path.parent / "precious").write_bytes(OTHER[1:])
    path.symlink_to("precious")


def a_dangling_link(path: Path) -> None:
    path.symlink_to("nowhere")


@pytest.mark.parametrize("make", [a_folder, os.mkfifo, a_link, a_dangling_link])
@pytest.mark.parametrize("is_part", [True, False])
def test_what_is_in_the_way_is_told_and_left_alone(server, tmp_path, make, is_part: bool) -> None:
    target = tmp_path / "tiny.gguf"
    place = part_path(target, remote(server)) if is_part else target
    make(place)
    before = sorted((path.name, path.lstat().st_mode, path.lstat().st_size) for path in tmp_path.rglob("*"))
    with pytest.raises(LaunchdeckError, match=r"tiny.gguf.* is a link, a folder or a pipe.*Move it away") as refusal:
        fetch(remote(server), tmp_path)
    assert refusal.value.failure.cause is Cause.CONFLICT
    assert before == sorted((path.name, path.lstat().st_mode, path.lstat().st_size) for path in tmp_path.rglob("*"))
    assert server.ranges == []
    assert fetched_bytes(target, remote(server)) == 0


def test_a_link_to_the_right_file_counts_as_the_file(server, tmp_path) -> None:
    (tmp_path / "elsewhere").write_bytes(CONTENT)
    (tmp_path / "tiny.gguf").symlink_to("elsewhere")
    fetch(remote(server), tmp_path)
    assert (tmp_path / "tiny.gguf").is_symlink()
    assert server.asked == []


def test_a_folder_that_is_a_file_is_told_as_such_and_not_as_a_full_disk(server, tmp_path) -> None:
    (tmp_path / "models").touch()
    with pytest.raises(LaunchdeckError, match=r"could not be written: .*(File exists|Not a directory)") as refusal:
        fetch(remote(server), tmp_path / "models")
    assert refusal.value.failure.cause is not Cause.DISK_FULL


def test_a_folder_that_may_not_be_looked_into_is_told(server, tmp_path, monkeypatch) -> None:
    """By the system's own error: root may look into everything."""

    def refuse(path: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("shutil.disk_usage", refuse)
    with pytest.raises(LaunchdeckError, match=r"could not be written: Permission denied.*right to read and write"):
        fetch(remote(server), tmp_path)


@pytest.mark.parametrize("short", [0, 1000])
def test_a_server_that_sends_less_and_ends_cleanly_is_given_up(server, tmp_path, short: int) -> None:
    server.chunks, server.short, server.knows_ranges = 512, short, False
    with pytest.raises(LaunchdeckError, match="does not answer: it sends less than it announced"):
        fetch(remote(server), tmp_path)
    assert 3 <= len(server.ranges) <= 8


def test_a_storm_of_small_chunks_is_a_file_like_any_other(server, tmp_path) -> None:
    server.files[NAME] = CONTENT[:30_000]
    server.chunks = 1
    told = fetch(remote(server, hashlib.sha256(CONTENT[:30_000]).hexdigest(), 30_000), tmp_path)
    assert (tmp_path / "tiny.gguf").read_bytes() == CONTENT[:30_000]
    assert len(told) < 30_000


def test_more_than_announced_is_thrown_away(server, tmp_path) -> None:
    server.chunks = 4096
    with pytest.raises(LaunchdeckError, match="is not the file that was announced"):
        fetch(remote(server, SHA256, 1000), tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("size", [1000, len(CONTENT) + 1])
def test_another_length_costs_nothing_of_what_has_come(server, tmp_path, size: int) -> None:
    part = part_path(tmp_path / "tiny.gguf", remote(server, SHA256, size))
    part.write_bytes(CONTENT[:500])
    with pytest.raises(LaunchdeckError, match="has another file there"):
        fetch(remote(server, SHA256, size), tmp_path)
    assert part.read_bytes() == CONTENT[:500]


def test_a_log_in_page_costs_nothing_of_what_has_come(server, tmp_path) -> None:
    part = part_path(tmp_path / "tiny.gguf", remote(server))
    part.write_bytes(CONTENT[:MIB])
    server.page = b"<html>Log in</html>"
    with pytest.raises(LaunchdeckError, match="log-in page"):
        fetch(remote(server), tmp_path)
    assert part.read_bytes() == CONTENT[:MIB]


def test_a_server_that_is_away_is_told_soon_where_nothing_has_come(server, tmp_path) -> None:
    file = remote(server)
    server.shutdown()
    server.server_close()
    with pytest.raises(LaunchdeckError, match="nobody takes the connection"):
        fetch(file, tmp_path)


def test_no_key_goes_to_the_host_that_a_server_leads_to(server, tmp_path) -> None:
    store = FakeHub()
    store.files, server.leads_to = dict(server.files), store.url
    file = remote(server)
    keyed = RemoteFile(file.url, file.size_bytes, file.sha256, {"Authorization": "Bearer hf_secret"}, refused)
    try:
        fetch(keyed, tmp_path)
    finally:
        store.shutdown()
        store.server_close()
    assert server.tokens == ["Bearer hf_secret"]
    assert store.tokens == [None]


def test_a_pause_is_at_once_while_nothing_comes_and_going_on_needs_no_new_start(server, tmp_path) -> None:
    server.hold_at = MIB

    async def pause() -> float:
        task = asyncio.ensure_future(
            download_all([NamedFile("tiny.gguf", remote(server))], tmp_path, lambda now: reached.append(now.done_bytes))
        )
        while not reached or reached[-1] < MIB:
            await asyncio.sleep(0.01)
        began_s = time.monotonic()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return time.monotonic() - began_s

    reached: list[int] = []
    assert asyncio.run(pause()) < 2
    server.hold_at = None
    server.go_on.set()
    fetch(remote(server), tmp_path)
    assert server.ranges[-1] == MIB
    assert (tmp_path / "tiny.gguf").read_bytes() == CONTENT


def test_what_was_begun_is_found_beside_what_cannot_be_read(tmp_path, caplog) -> None:
    for name in ("good", "locked", "pipe", "folder", "link"):
        (tmp_path / "them" / name).mkdir(parents=True)
    (tmp_path / "them" / "good" / "x.gguf.abc.part").touch()
    os.mkfifo(tmp_path / "them" / "pipe" / "x.part")
    (tmp_path / "them" / "folder" / "x.part").mkdir()
    (tmp_path / "them" / "link" / "x.part").symlink_to(tmp_path / "them" / "good" / "x.gguf.abc.part")
    (tmp_path / "them" / "no name").mkdir()
    (tmp_path / "them" / "no name" / "x.part").touch()
    (tmp_path / "them" / "round").symlink_to(tmp_path)
    assert begun(tmp_path) == ["them/good"]
    assert begun(tmp_path / "them" / "good" / "x.gguf.abc.part") == []
    assert begun(tmp_path / "nowhere") == []
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (HTTPStatus.NOT_FOUND, "does not give tiny.gguf (status 404)"),
        (HTTPStatus.TOO_MANY_REQUESTS, "was asked too often"),
        (HTTPStatus.PROXY_AUTHENTICATION_REQUIRED, "The proxy of this network wants a name and a password."),
        (HTTPStatus.BAD_GATEWAY, "does not answer as it should (status 502)"),
    ],
)
def test_a_server_that_is_not_the_hub_is_not_told_of_in_the_hubs_words(status: HTTPStatus, words: str) -> None:
    """An engine's, say: a token for the hub would help nobody there."""
    file = RemoteFile("http://127.0.0.1:1/releases/tiny.gguf", 1)
    error = file.explain(file.url, status, {"x-error-code": "GatedRepo"}, "tiny.gguf")
    assert words in str(error)
    assert "HF_TOKEN" not in f"{error} {error.failure.advice}"
