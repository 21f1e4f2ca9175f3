"""An identity out of a file names nothing to be deleted: whatever a record says, only its own folder goes with it."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
from pathlib import Path
from typing import Any

import pytest

from fakes.confined import run_confined
from fakes.serving import Bench, fake_planner
from launchdeck.domain.deployment import State
from launchdeck.domain.errors import LaunchdeckError
from launchdeck.domain.request import ModelLoadRequest
from launchdeck.domain.text import Message
from launchdeck.engines.registry import adapters
from launchdeck.serving import direct
from launchdeck.serving.records.codec import to_json
from launchdeck.serving.records.records import read_records
from launchdeck.serving.shim.processes import boot_id
from launchdeck.settings.paths import Paths

GOOD, ODD = "00000001", "00000002"


@pytest.fixture
def paths() -> Paths:
    found = Paths.resolve()
    found.create()
    return found


@pytest.fixture
def sentinel(tmp_path: Path) -> Path:
    """A tree that is none of ours, with what could be taken for a record in it."""
    tree = tmp_path / "sentinel"
    (tree / "below").mkdir(parents=True)
    (tree / "below" / "work").write_text("years of it")
    (tree / "record.json").write_text("not ours")
    return tree


def record_of(paths: Paths, deployment_id: str, name: str = "demo", **changes: Any) -> dict[str, Any]:
    """A model of this boot that has ended by itself."""
    request = ModelLoadRequest(Path("/models/demo.gguf"), model_id=name)
    return {
        "version": 1,
        "id": deployment_id,
        "boot_id": boot_id(),
        "created_at_s": 5.0,
        "socket": str(paths.runtime / f"{deployment_id}.sock"),
        "shim": None,
        "engine": None,
        "tree": [],
        "started_at_s": 5.5,
        "ended_at_s": 6.0,
        "stop_asked": False,
        "exit_code": 1,
        "start_error": None,
        "log_size": 0,
        "note": {},
        "plan": to_json(fake_planner()(request, 8001)),
    } | changes


def write(paths: Paths, folder: str, facts: object) -> Path:
    place = paths.records / folder
    place.mkdir(parents=True)
    (place / "record.json").write_text(json.dumps(facts))
    return place


def tree_of(folder: Path) -> list[tuple[str, str]]:
    return sorted((str(path), path.read_text() if path.is_file() else "") for path in folder.rglob("*"))


async def adopt_and_quit() -> list[Message]:
    """What a start and a plain Quit do with records; gives what was told."""
    bench = Bench()
    told = await bench.manager.adopt()
    await bench.manager.close(keep=True)
    return told


@pytest.mark.parametrize(
    "identity", ["", ".", "..", "../..", "{sentinel}", "../../sentinel", "00000003", "0000000", "0000000G", "a/b", "\0"]
)
def test_a_quit_removes_no_folder_that_a_record_names(
    paths: Paths, sentinel: Path, tmp_path: Path, identity: str
) -> None:
    """The record's folder has a good name; the file in it says it is something else."""
    named = identity.format(sentinel=sentinel)
    odd = write(paths, ODD, record_of(paths, ODD, id=named))
    good = write(paths, GOOD, record_of(paths, GOOD))
    other = write(paths, "00000003", "a newer one may have this name")
    (other / "record.json").rename(other / "kept")
    before = tree_of(sentinel)

    (problem,) = asyncio.run(adopt_and_quit())

    assert "record.json.corrupt" in str(problem)
    assert (odd / "record.json.corrupt").exists()
    assert not good.exists()  # what has ended is forgotten at Quit
    assert other.exists()
    assert tree_of(sentinel) == before
    assert asyncio.run(adopt_and_quit()) == []  # told once
    assert odd.exists()


@pytest.mark.parametrize("name", ["demo", ".hidden", "000000001", "0000000g", "backup-of-00000001"])
def test_a_folder_that_no_deployment_has_is_left_alone(paths: Paths, name: str) -> None:
    """Say, a copy that somebody has made of a record, as it is."""
    odd = write(paths, name, record_of(paths, GOOD))
    assert len(asyncio.run(adopt_and_quit())) == 1
    asyncio.run(direct.stop_all(paths))
    assert (odd / "record.json.corrupt").exists()


def test_a_link_among_the_records_is_not_followed(paths: Paths, sentinel: Path) -> None:
    """Behind it lies what could pass for a record of ours; it is not ours to rename anything there either."""
    place = sentinel / GOOD
    place.mkdir()
    (place / "record.json").write_text(json.dumps(record_of(paths, GOOD)))
    before = tree_of(sentinel)
    paths.records.mkdir(parents=True)
    (paths.records / GOOD).symlink_to(place)

    assert len(asyncio.run(adopt_and_quit())) == 1
    assert asyncio.run(adopt_and_quit()) == []
    assert tree_of(sentinel) == before
    assert (paths.records / f"{GOOD}.corrupt").is_symlink()


def test_a_folder_exchanged_for_a_link_costs_the_link_alone(
    paths: Paths, sentinel: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def run() -> None:
        bench = Bench()
        await bench.manager.adopt()
        (paths.records / GOOD).rename(paths.state / "moved")
        (paths.records / GOOD).symlink_to(sentinel)
        bench.manager.dismiss(GOOD)

    write(paths, GOOD, record_of(paths, GOOD))
    before = tree_of(sentinel)
    asyncio.run(run())
    assert tree_of(sentinel) == before
    assert "could not be removed" in caplog.text


@pytest.mark.parametrize(
    "where",
    ["{sentinel}/below/work", "/etc/hostname", "{runtime}/../state/instance.lock", "{runtime}/00000002.sock", "x"],
)
def test_no_socket_is_removed_but_its_own(paths: Paths, sentinel: Path, where: str) -> None:
    before = tree_of(sentinel)
    with socket.socket(socket.AF_UNIX) as others:
        others.bind(str(paths.runtime / "00000002.sock"))
        place = where.format(sentinel=sentinel, runtime=paths.runtime)
        write(paths, GOOD, record_of(paths, GOOD, socket=place, ended_at_s=None))
        assert len(asyncio.run(adopt_and_quit())) == 1
        assert (paths.runtime / "00000002.sock").exists()
    assert tree_of(sentinel) == before


def test_what_lies_in_the_place_of_a_socket_and_is_none_stays(paths: Paths, caplog: pytest.LogCaptureFixture) -> None:
    write(paths, GOOD, record_of(paths, GOOD))
    place = paths.runtime / f"{GOOD}.sock"
    place.write_text("not a socket")
    assert asyncio.run(adopt_and_quit()) == []
    assert place.read_text() == "not a socket"
    assert "could not be removed" in caplog.text


def test_stop_all_removes_nothing_but_what_it_has_stopped(paths: Paths, sentinel: Path) -> None:
    """Without an application the command line works on the records itself."""
    write(paths, ODD, record_of(paths, ODD, id=str(sentinel)))
    write(paths, GOOD, record_of(paths, GOOD, name="ended"))
    before = tree_of(sentinel)
    asyncio.run(direct.stop_all(paths))
    asyncio.run(direct.stop(paths, "ended"))
    with pytest.raises(LaunchdeckError):
        asyncio.run(direct.stop(paths, str(sentinel)))
    assert tree_of(sentinel) == before
    assert (paths.records / ODD).exists()
    assert not (paths.records / GOOD).exists()


@pytest.mark.expects_log_errors
def test_one_record_that_cannot_be_taken_over_costs_no_other(paths: Paths, caplog: pytest.LogCaptureFixture) -> None:
    """A mistake of ours over one record, here one that no check has foreseen, is told, and the next is taken over."""

    async def run() -> tuple[list[Message], list[str]]:
        bench = Bench()
        bench.manager._adapters = {kind: of for kind, of in adapters().items() if kind != "llama-server"}
        write(paths, ODD, record_of(paths, ODD, name="odd"))
        other = record_of(paths, GOOD, name="good")
        other["plan"]["engine"]["kind"] = "embedded"
        write(paths, GOOD, other)
        told = await bench.manager.adopt()
        names = [d.plan.model_id for d in bench.manager.deployments if d.state is State.FAILED]
        await bench.manager.close(keep=True)
        return told, names

    (problem,), names = asyncio.run(run())
    assert "odd" in str(problem)
    assert names == ["good"]
    assert "could not be taken over" in caplog.text


def test_a_record_that_cannot_be_read_now_stays(tmp_path: Path) -> None:
    """As somebody whom permissions bind; root is."""
    write(Paths.resolve(), GOOD, record_of(Paths.resolve(), GOOD))
    place = Path(shutil.copytree(Paths.resolve().records, tmp_path / "records")) / GOOD / "record.json"
    place.chmod(0)
    script = tmp_path / "script.py"
    script.write_text(_READ)
    assert "Permission denied" in run_confined(script, tmp_path)
    place.chmod(0o600)
    assert len(read_records(tmp_path / "records")) == 1


_READ = """
import sys
from pathlib import Path
from launchdeck.serving.records.records import read_records
assert read_records(Path(sys.argv[1]) / "records", print) == []
"""
