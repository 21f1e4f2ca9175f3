"""Engines that are fetched from a server that breaks off, asked what they are, found again and removed."""

from __future__ import annotations

import asyncio
import json
import os
import platform
import random
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from fakes.archives import SERVER, tar_gz, wheel_of
from fakes.hub import FakeHub
from fakes.socks import FakeSocks
from launchdeck.domain.errors import Cause, LaunchdeckError
from launchdeck.domain.gpu import GpuType
from launchdeck.domain.plan import EngineKind
from launchdeck.engines.find import find_engines
from launchdeck.engines.getting.fetched import engines_folder, fetched_engines, folder_of, remove, size_bytes
from launchdeck.engines.getting.getting import Step, fetched_already_bytes, find_offers, get
from launchdeck.engines.getting.offers import LLAMA_CPP, XLLAMACPP, Offer, OfferKind
from launchdeck.engines.llama.embedded import embedded_library
from launchdeck.network.remote_file import NamedFile, RemoteFile
from launchdeck.settings.paths import Paths
from launchdeck.settings.schema import Settings

pytestmark = pytest.mark.usefixtures("plain_network")
MIB = 1024 * 1024
ARCH = "x64" if platform.machine() == "x86_64" else "arm64"
ARCHIVE = f"llama-b10605-bin-ubuntu-{ARCH}.tar.gz"
PADDING = random.Random(3).randbytes(3 * MIB)


@pytest.fixture
def paths(monkeypatch: pytest.MonkeyPatch) -> Paths:
    monkeypatch.setenv("PATH", "/nonexistent")
    return Paths.resolve()


@pytest.fixture
def server() -> Iterator[FakeHub]:
    server = FakeHub()
    publish(server, tar_gz({"llama-b10605/llama-server": SERVER, "llama-b10605/padding": PADDING}))
    yield server
    server.shutdown()
    server.server_close()


def publish(server: FakeHub, content: bytes) -> None:
    server.files[f"{LLAMA_CPP}/{ARCHIVE}"] = content
    server.releases = {LLAMA_CPP: {"b10605": [ARCHIVE]}}


def settings(server: FakeHub) -> Settings:
    return Settings(engine_source_url=server.url + "/")


def only_offer(server: FakeHub) -> Offer:
    (offer,) = asyncio.run(find_offers((), settings(server)))
    return offer


def fetch(server: FakeHub, offer: Offer, paths: Paths) -> list[Step]:
    told: list[Step] = []
    asyncio.run(get(offer, paths, settings(server), told.append))
    return told


def left_over(paths: Paths) -> list[str]:
    return sorted(path.name for path in engines_folder(paths).iterdir())


def test_an_archive_is_fetched_over_a_broken_line_asked_and_found(server: FakeHub, paths: Paths) -> None:
    server.breaks = [MIB, 700_000, 100]
    offer = only_offer(server)
    told = fetch(server, offer, paths)
    assert len(server.ranges) == 4
    assert server.ranges[-1] > MIB
    words = list(dict.fromkeys(step.words.template for step in told))
    assert words == ["Downloading", "Checking", "Unpacking", "Asking it what it is"]
    assert left_over(paths) == [offer.id]
    engine = find_engines(Settings(), paths).engines[0]
    assert (engine.kind, engine.build, engine.gpu_types) == (EngineKind.LLAMA_SERVER, 10605, {GpuType.AMD})
    assert folder_of(engine, paths) == engines_folder(paths) / offer.id
    assert size_bytes(engines_folder(paths) / offer.id) > 3 * MIB


def test_it_is_gone_after_it_was_removed(server: FakeHub, paths: Paths) -> None:
    offer = only_offer(server)
    fetch(server, offer, paths)
    remove(engines_folder(paths) / offer.id)
    assert left_over(paths) == []
    assert [engine.id for engine in find_engines(Settings(), paths).engines] == ["embedded"]


def test_one_that_was_cancelled_goes_on_where_it_was(server: FakeHub, paths: Paths) -> None:
    offer = only_offer(server)

    server.hold_at = 2 * MIB

    async def cancel_in_the_middle() -> None:
        def tell(step: Step) -> None:
            if step.progress and step.progress.done_bytes >= MIB:
                task.cancel()

        task = asyncio.create_task(get(offer, paths, settings(server), tell))
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel_in_the_middle())
    assert fetched_already_bytes(offer, paths) >= MIB
    assert fetched_engines(paths) == ()
    server.hold_at = None
    fetch(server, offer, paths)
    assert server.ranges[-1] >= MIB
    assert len(fetched_engines(paths)) == 1


def test_another_file_than_announced_is_thrown_away(server: FakeHub, paths: Paths) -> None:
    offer = only_offer(server)
    server.wrong_content = True
    with pytest.raises(LaunchdeckError, match="not the file that was announced"):
        fetch(server, offer, paths)
    assert fetched_engines(paths) == ()
    assert fetched_already_bytes(offer, paths) == 0


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (tar_gz({"llama-b10605/llama-cli": SERVER}), "There is no llama-server in llama-b10605"),
        (tar_gz({"llama-server": f"#!{sys.executable}\nraise SystemExit('libcuda.so.1 is missing')"}), "libcuda.so.1"),
        (tar_gz({"llama-server": "#!/bin/false"}), "cannot be used"),
        (tar_gz({"../llama-server": SERVER}), "leads outside"),
    ],
)
def test_one_that_does_not_work_here_is_told_and_leaves_nothing(
    server: FakeHub, paths: Paths, content: bytes, told: str
) -> None:
    publish(server, content)
    offer = only_offer(server)
    with pytest.raises(LaunchdeckError, match=told):
        fetch(server, offer, paths)
    assert left_over(paths) == ["downloads"]
    assert [engine.id for engine in find_engines(Settings(), paths).engines] == ["embedded"]


def test_room_is_looked_for_before_the_download(server: FakeHub, paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    offer = only_offer(server)
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=MIB))
    with pytest.raises(LaunchdeckError) as refusal:
        fetch(server, offer, paths)
    assert refusal.value.failure.cause is Cause.DISK_FULL
    assert server.ranges == []


def test_a_source_that_does_not_answer_is_told(server: FakeHub) -> None:
    with pytest.raises(LaunchdeckError, match=r"status 404.*settings"):
        asyncio.run(find_offers((), Settings(engine_source_url=f"{server.url}/nowhere")))
    server.shutdown()
    server.server_close()
    with pytest.raises(LaunchdeckError, match=r"127.0.0.1:\d+ does not answer: nobody takes the connection"):
        asyncio.run(find_offers((), settings(server)))
    for address in ("nowhere", "http://[", ""):
        with pytest.raises(LaunchdeckError, match="is no address"):
            asyncio.run(find_offers((), Settings(engine_source_url=address)))


def test_the_list_of_engines_and_an_engine_come_through_a_socks_proxy(
    server: FakeHub, paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    socks = FakeSocks(("127.0.0.1", server.server_address[1]))
    monkeypatch.setenv("all_proxy", f"socks5h://{socks.address}")
    server.named_url = "http://hub.test"
    try:
        (offer,) = asyncio.run(find_offers((), Settings(engine_source_url="http://hub.test")))
        fetch(server, offer, paths)
    finally:
        socks.close()
    assert len(fetched_engines(paths)) == 1
    assert socks.asked == [("hub.test", 80)] * 3


def test_a_mirror_with_one_of_the_projects_offers_that_one(
    server: FakeHub, paths: Paths, caplog: pytest.LogCaptureFixture
) -> None:
    whole = [{"tag_name": "b10605", "assets": [server.asset(LLAMA_CPP, ARCHIVE)]}]
    document = json.dumps(whole).encode()
    server.api = lambda path: (200, {}, document) if LLAMA_CPP in path else (404, {}, b"{}")
    assert [offer.kind for offer in asyncio.run(find_offers((), settings(server)))] == [OfferKind.ARCHIVE]
    assert "Some engines cannot be offered" in caplog.text


def test_the_newest_comes_first_and_the_named_one_before_it(server: FakeHub, paths: Paths, tmp_path: Path) -> None:
    offer = only_offer(server)
    fetch(server, offer, paths)
    fetch(server, replace(offer, id="another", title="another"), paths)
    os.utime(engines_folder(paths) / offer.id / "engine.json", (1, 1))
    assert [engine.title for engine in fetched_engines(paths)] == ["another", offer.title]
    named = tmp_path / "mine"
    named.write_text(SERVER)
    named.chmod(0o755)
    found = find_engines(Settings(llama_server_path=str(named)), paths).engines
    assert [str(engine.path).split("/")[-2] for engine in found[:3]][1:] == ["llama-b10605", "llama-b10605"]
    assert found[0].path == named


def test_a_note_that_is_damaged_hides_only_its_engine(server: FakeHub, paths: Paths) -> None:
    offer = only_offer(server)
    fetch(server, offer, paths)
    fetch(server, replace(offer, id="another"), paths)
    wrong = (
        '{"kind": "archive", "title": [], "program": "llama-server"}',
        '{"kind": "archive", "title": "a\\nb", "program": "llama-server"}',
        '{"kind": [], "title": "x", "program": "llama-server"}',
        '{"kind": "archive", "title": "x", "program": ["llama-server"]}',
        '{"kind": "archive", "title": "x", "program": "../llama-server"}',
        "[" * 100_000,
    )
    for content in (
        *wrong,
        "",
        "[]",
        '{"kind": "new", "title": "", "program": "x"}',
        '{"kind": "archive", "program": 1}',
    ):
        (engines_folder(paths) / "another" / "engine.json").write_text(content)
        assert [engine.folder.name for engine in fetched_engines(paths)] == [offer.id]


def test_another_build_of_the_package_is_asked_in_its_own_folder(server: FakeHub, paths: Paths) -> None:
    library = embedded_library()
    assert library is not None
    name = "xllamacpp-1.0-py3-none-any.whl"
    content = wheel_of(library.parent)
    server.files[f"{XLLAMACPP}/{name}"] = content
    offer = Offer(
        "xllamacpp-1.0-cuda-12.8", OfferKind.WHEEL, "xllamacpp 1.0", only_offer(server).reason, len(content),
        (NamedFile(name, RemoteFile(f"{server.url}/{XLLAMACPP}/resolve/main/{name}", len(content))),),
    )  # fmt: skip
    fetch(server, offer, paths)
    fetched, built_in = find_engines(Settings(), paths).engines
    assert fetched.kind is EngineKind.EMBEDDED
    assert fetched.id == f"embedded:{engines_folder(paths) / offer.id / 'xllamacpp' / library.name}"
    assert fetched.command[-2:] == ("--package-folder", str(engines_folder(paths) / offer.id))
    assert built_in.id == "embedded"
    assert fetched.version == built_in.version
