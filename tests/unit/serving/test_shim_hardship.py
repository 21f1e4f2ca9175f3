"""The shim where the system is against it: a disk that fails, files that are not its own, signals meant for others."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import resource
import signal
from pathlib import Path
from typing import Any

import pytest

from fakes.serving import Watch, spec_of, until, until_async
from launchdeck.serving.shim.log import LogWriter, read_log, segments
from launchdeck.serving.shim.processes import identify, is_alive

TICKS_S = 5.0
"""Two looks of a shim at its files, and some."""
SMALL_LOG_BYTES = 1024 * 1024


def record_of(spec: dict[str, Any]) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((Path(spec["folder"]) / "record.json").read_text())
    return document


class Disk:
    """The disk that the shims started from now on see."""

    def __init__(self, folder: Path, library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._control = folder / "disk"
        monkeypatch.setenv("LD_PRELOAD", str(library))
        monkeypatch.setenv("LAUNCHDECK_FAKE_DISK", str(self._control))

    def fail(self, number: int, folder: str) -> None:
        self._control.with_suffix(".new").write_text(f"{number} {folder}")
        self._control.with_suffix(".new").replace(self._control)

    def mend(self) -> None:
        self._control.write_text("")


@pytest.fixture
def disk(tmp_path: Path, broken_disk_library: Path, monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(tmp_path, broken_disk_library, monkeypatch)


@pytest.mark.parametrize(
    ("place", "numbers"),
    [
        ("folder", (errno.EACCES, errno.EIO, errno.ESTALE, errno.ENOTDIR, errno.EROFS)),
        ("socket", (errno.EACCES, errno.ESTALE)),
    ],
)
def test_a_disk_that_fails_costs_no_model(
    tmp_path: Path, broken_disk_library: Path, monkeypatch: pytest.MonkeyPatch, place: str, numbers: tuple[int, ...]
) -> None:
    """A home on NFS whose server is away, an encrypted folder that was closed, a chmod too many: all at once."""

    async def started(number: int) -> tuple[Disk, dict[str, Any], Watch]:
        (tmp_path / str(number)).mkdir()
        disk = Disk(tmp_path / str(number), broken_disk_library, monkeypatch)
        spec = spec_of("--no-listen", "--chatter", log_limit_bytes=SMALL_LOG_BYTES)
        return disk, spec, await Watch.start(spec)

    async def endures(number: int, disk: Disk, spec: dict[str, Any], watch: Watch) -> None:
        shim = tuple(watch.client.status["shim"])
        await watch.client.ask("follow", offset=0)
        await watch.event("log")
        disk.fail(number, spec[place])
        await asyncio.sleep(TICKS_S)
        assert is_alive(shim), errno.errorcode[number]
        status = await watch.fresh_status()
        assert is_alive(tuple(status["engine"])), errno.errorcode[number]
        await watch.client.ask("note", note={"ready_at_s": 5.0})
        disk.mend()
        await until_async(lambda: record_of(spec)["note"] == {"ready_at_s": 5.0})
        assert (await watch.stop())["stop_asked"]
        await until_async(lambda: not is_alive(shim))
        assert record_of(spec)["ended_at_s"] is not None

    async def scenario() -> None:
        each = [(number, *await started(number)) for number in numbers]
        await asyncio.gather(*(endures(*one) for one in each))

    asyncio.run(scenario())


def test_a_model_that_ends_while_the_disk_is_away_is_still_told(disk: Disk) -> None:
    """Its shim waits to write the end down, and goes when it is told to."""

    async def scenario() -> None:
        spec = spec_of("--no-listen")
        watch = await Watch.start(spec)
        shim = watch.client.status["shim"]
        disk.fail(errno.EIO, spec["folder"])
        status = await watch.stop()
        assert status["exit_code"] == -signal.SIGTERM
        await asyncio.sleep(TICKS_S / 2)
        assert is_alive(tuple(shim))  # the record on the disk says that it runs
        os.kill(shim[0], signal.SIGTERM)
        until(lambda: not is_alive(tuple(shim)), "the shim to go")

    asyncio.run(scenario())


def test_a_record_that_was_forgotten_while_the_disk_was_away_keeps_no_shim(disk: Disk, launchdeck_home: Path) -> None:
    async def scenario() -> None:
        spec = spec_of("--no-listen")
        watch = await Watch.start(spec)
        shim = tuple(watch.client.status["shim"])
        disk.fail(errno.EIO, spec["folder"] + "/")
        await watch.stop()
        Path(spec["folder"]).rename(launchdeck_home / "forgotten")
        until(lambda: not is_alive(shim), "the shim to go")

    asyncio.run(scenario())


STRAY = [
    "log-000000000000000.bak",
    "log-",
    "log-x",
    "log-00000000000000١",
    "log--00000000000001",
    "log-1",
    "log-9" * 30,
]


@pytest.mark.parametrize("kind", ["file", "folder", "link", "pipe"])
def test_what_lies_beside_the_log_costs_no_model(tmp_path: Path, kind: str) -> None:
    """A copy that somebody made for a bug report. It used to end the model at its next segment."""

    async def scenario() -> None:
        spec = spec_of("--no-listen", "--flood-mib", 3, log_limit_bytes=SMALL_LOG_BYTES)
        folder = Path(spec["folder"])
        folder.mkdir(parents=True)
        for name in STRAY:
            _make(folder / name, kind, tmp_path)
        watch = await Watch.start(spec)
        await until_async(lambda: segments(str(folder)) and segments(str(folder))[-1][0] > 2 * SMALL_LOG_BYTES)
        assert is_alive(tuple(watch.client.status["shim"]))
        assert all(os.path.lexists(folder / name) for name in STRAY)
        assert sum(size for _, size in segments(str(folder))) <= SMALL_LOG_BYTES
        assert (await watch.stop())["stop_asked"]

    asyncio.run(scenario())


def _make(place: Path, kind: str, elsewhere: Path) -> None:
    match kind:
        case "file":
            place.write_text("a copy")
        case "folder":
            place.mkdir()
        case "link":
            place.symlink_to(elsewhere)
        case "pipe":
            os.mkfifo(place)


@pytest.mark.parametrize(
    "name", ["SIGUSR1", "SIGUSR2", "SIGALRM", "SIGHUP", "SIGPIPE", "SIGVTALRM", "SIGPROF", "SIGIO"]
)
def test_a_signal_that_means_nothing_to_a_shim_is_survived(name: str) -> None:
    async def scenario() -> None:
        watch = await Watch.start(spec_of("--no-listen"))
        shim = tuple(watch.client.status["shim"])
        os.kill(shim[0], getattr(signal, name))
        await asyncio.sleep(0.3)
        status = await watch.fresh_status()
        assert is_alive(shim)
        assert not status["stop_asked"]
        await watch.stop()

    asyncio.run(scenario())


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGQUIT", "SIGXCPU"])
def test_a_signal_that_asks_a_shim_to_end_ends_the_whole_tree_first(name: str) -> None:
    """Also workers in sessions of their own, which nothing but its sweep would find."""

    async def scenario() -> None:
        spec = spec_of("--no-listen", "--workers", 2, stop_grace_s=0.5)
        watch = await Watch.start(spec)
        tree: list[list[int]] = []
        while len(tree) < 3:
            tree = (await watch.fresh_status())["tree"]
        os.kill(watch.client.status["shim"][0], getattr(signal, name))
        status = await watch.ended()
        assert status["stop_asked"]
        assert [pid for pid, _ in tree if identify(pid) is not None] == []

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "request_line",
    [
        b'{"id": 1, "do": "follow", "offset": 1e999}',
        b'{"id": 1, "do": "follow", "offset": -5}',
        b'{"id": 1, "do": "follow", "offset": 99999999999999999999}',
        b'{"id": 1, "do": "stop", "grace_s": NaN}',
        b'{"id": 1, "do": ' + b"[" * 50_000,
        b"[" * 100_000,
        b'{"id": 1, "do": null}',
        b'{"id": 1, "do": "note", "note": 7}',
    ],
)
def test_a_request_of_no_sense_costs_no_model(request_line: bytes) -> None:
    async def scenario() -> None:
        spec = spec_of("--no-listen")
        watch = await Watch.start(spec)
        _, writer = await asyncio.open_unix_connection(spec["socket"])
        writer.write(request_line + b"\n")
        await writer.drain()
        await asyncio.sleep(0.3)
        writer.close()
        status = await watch.fresh_status()
        assert not status["stop_asked"]
        await watch.stop()

    asyncio.run(scenario())


def test_processes_of_others_that_cannot_be_seen_cost_no_model(disk: Disk) -> None:
    """As where /proc is mounted with hidepid=1: whatever is asked of another user's process is not permitted."""

    async def scenario() -> None:
        disk.fail(errno.EPERM, "/proc/1/")
        watch = await Watch.start(spec_of("--no-listen", "--workers", 1))
        tree: list[list[int]] = []
        while len(tree) < 2:
            tree = (await watch.fresh_status())["tree"]
        assert (await watch.stop())["stop_asked"]
        assert [pid for pid, _ in tree if identify(pid) is not None] == []

    asyncio.run(scenario())


def test_a_shim_without_descriptors_goes_on_when_there_are_some_again() -> None:
    """Nothing can be opened then, neither its record nor the list of processes; the engine serves on all the while."""

    async def scenario() -> None:
        spec = spec_of("--no-listen")
        watch = await Watch.start(spec)
        shim = tuple(watch.client.status["shim"])
        await watch.client.ask("status")
        before = resource.prlimit(shim[0], resource.RLIMIT_NOFILE)
        open_files = len(list(Path(f"/proc/{shim[0]}/fd").iterdir()))
        resource.prlimit(shim[0], resource.RLIMIT_NOFILE, (open_files, before[1]))
        await asyncio.sleep(TICKS_S)
        assert is_alive(shim)
        resource.prlimit(shim[0], resource.RLIMIT_NOFILE, before)
        await watch.client.ask("note", note={"ready_at_s": 5.0})
        assert is_alive(tuple((await watch.fresh_status())["engine"]))
        await watch.stop()
        assert record_of(spec)["note"] == {"ready_at_s": 5.0}
        told = (Path(spec["folder"]) / "shim.err").read_text()
        assert 1 <= told.count("Too many open files") <= 20

    asyncio.run(scenario())


@pytest.mark.parametrize("kind", ["pipe", "link"])
def test_what_lies_in_the_place_of_a_new_record_is_not_written_to(tmp_path: Path, kind: str) -> None:
    """A pipe used to hold up the shim for good, a link led its record over another file."""

    async def scenario() -> None:
        spec = spec_of("--no-listen")
        watch = await Watch.start(spec)
        other = tmp_path / "other"
        other.write_text("years of it")
        _make(Path(spec["folder"]) / "record.json.new", kind, other)
        (Path(spec["folder"]) / "record.json").write_text("{damaged")
        await watch.client.ask("note", note={"ready_at_s": 5.0})
        assert record_of(spec)["note"] == {"ready_at_s": 5.0}
        assert (await watch.stop())["stop_asked"]
        assert other.read_text() == "years of it"
        assert not (Path(spec["folder"]) / "record.json").is_symlink()

    asyncio.run(scenario())


@pytest.mark.parametrize("kind", ["pipe", "link"])
def test_what_lies_in_the_place_of_the_next_part_of_the_log_is_not_written_to(tmp_path: Path, kind: str) -> None:
    other = tmp_path / "other"
    other.write_text("years of it")
    log = LogWriter(str(tmp_path), SMALL_LOG_BYTES)
    head = b"x" * (SMALL_LOG_BYTES // 2)
    _make(tmp_path / f"log-{len(head):015}", kind, other)
    log.write(head)
    log.write(b"and on")
    log.close()
    assert log.error is None
    assert other.read_text() == "years of it"
    assert read_log(str(tmp_path), len(head), 100) == (len(head), b"and on")
