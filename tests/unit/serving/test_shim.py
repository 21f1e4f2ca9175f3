"""The real shim as a real process, with the fake server as its engine."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import resource
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fakes.serving import PlainLauncher, Watch, spec_of, until, until_async
from launchdeck.domain.errors import LaunchdeckError
from launchdeck.serving.shim.connection import BATCH_BYTES, BATCH_LINES
from launchdeck.serving.shim.log import segments
from launchdeck.serving.shim.mark import VALUE
from launchdeck.serving.shim.processes import identify, is_alive, send_signal
from launchdeck.serving.shim_client import ShimClient


def log_of(watch: Watch) -> bytes:
    return b"".join(base64.b64decode(event["data"]) for event in watch.events if event["event"] == "log")


def record_of(spec: dict) -> dict:
    return json.loads((Path(spec["folder"]) / "record.json").read_text())


def test_an_engine_runs_and_is_stopped() -> None:
    async def scenario() -> None:
        spec = spec_of("--no-listen", "--say", "hello")
        watch = await Watch.start(spec)
        await watch.client.ask("follow", offset=0)
        await until_async(lambda: b"hello\n" in log_of(watch))
        engine = tuple((await watch.fresh_status())["engine"])
        assert is_alive(engine)
        status = await watch.stop()
        assert status["exit_code"] == -signal.SIGTERM
        assert status["stop_asked"]
        assert not is_alive(engine)
        until(lambda: not Path(spec["socket"]).exists())
        assert record_of(spec)["exit_code"] == -signal.SIGTERM

    asyncio.run(scenario())


FIRST_THREAD_ENDS = (
    "import threading, time, ctypes;"
    "threading.Thread(target=time.sleep, args=(300,)).start();"
    "ctypes.CDLL(None).pthread_exit(None)"
)


def test_an_engine_whose_first_thread_has_ended_still_lives_and_is_stopped() -> None:
    async def scenario() -> None:
        spec = spec_of() | {"argv": [sys.executable, "-c", FIRST_THREAD_ENDS]}
        watch = await Watch.start(spec)
        engine = tuple((await watch.fresh_status())["engine"])
        state = Path(f"/proc/{engine[0]}/stat")
        until(lambda: state.read_text().rsplit(")")[1].split()[0] == "Z")
        assert is_alive(engine)
        await watch.stop()
        assert not state.exists()

    asyncio.run(scenario())


def test_the_shim_belongs_to_nobody_and_has_a_session_of_its_own() -> None:
    async def scenario() -> None:
        watch = await Watch.start(spec_of("--no-listen"))
        pid = watch.client.status["shim"][0]
        assert os.getsid(pid) == pid
        assert int(Path(f"/proc/{pid}/stat").read_text().rsplit(")")[1].split()[1]) != os.getpid()
        engine = (await watch.fresh_status())["engine"][0]
        assert os.getsid(engine) == engine
        await watch.stop()

    asyncio.run(scenario())


@pytest.fixture
def generous_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.mark.usefixtures("generous_umask")
def test_only_the_user_may_connect_or_read(launchdeck_home: Path) -> None:
    async def scenario() -> None:
        spec = spec_of("--no-listen", "--say", "x")
        watch = await Watch.start(spec)
        assert stat.S_IMODE(Path(spec["socket"]).stat().st_mode) == 0o600
        await watch.client.ask("follow", offset=0)
        await watch.event("log")
        for file in Path(spec["folder"]).iterdir():
            assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
        for folder in (Path(spec["folder"]), *Path(spec["folder"]).parents, Path(spec["socket"]).parent):
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700 or not folder.is_relative_to(launchdeck_home), folder
        await watch.stop()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("switches", "exit_code"),
    [(("--exit-code", 3), 3), (("--exit-code", 0), 0), (("--die-of", 11), -11), (("--die-of", 9), -9)],
)
def test_the_exit_status_is_kept(switches: tuple[object, ...], exit_code: int) -> None:
    async def scenario() -> None:
        spec = spec_of("--no-listen", *switches)
        watch = await Watch.start(spec)
        status = await watch.ended()
        assert (status["exit_code"], status["stop_asked"], status["tree"]) == (exit_code, False, [])
        assert record_of(spec)["exit_code"] == exit_code

    async def kept_until_asked() -> None:
        spec = spec_of("--no-listen", *switches)
        await PlainLauncher().launch(spec)
        await until_async(lambda: record_of(spec)["ended_at_s"] is not None)
        watch = Watch(await ShimClient.connect(Path(spec["socket"])))
        await watch.client.ask("hold", when_app_dies="keep")
        assert (await watch.ended())["exit_code"] == exit_code

    asyncio.run(scenario()) if exit_code else asyncio.run(kept_until_asked())


@pytest.mark.parametrize("kind", ["missing", "not executable"])
def test_an_engine_that_cannot_be_started_is_named(launchdeck_home: Path, kind: str) -> None:
    program = launchdeck_home / "engine"
    if kind == "not executable":
        program.write_text("#!/bin/sh\n")

    async def scenario() -> None:
        watch = await Watch.start(spec_of(argv=[str(program), "--model", "x"]))
        await watch.client.ask("hold", when_app_dies="keep")
        status = await watch.ended()
        assert status["start_error"]["path"] == str(program)
        assert str(program) in status["start_error"]["reason"]
        assert status["exit_code"] is None

    asyncio.run(scenario())


def test_a_stop_takes_workers_that_left_the_session_and_ignore_sigterm() -> None:
    async def scenario() -> None:
        watch = await Watch.start(spec_of("--no-listen", "--ignore-term", "--workers", 2, "--stubborn-workers"))
        await until_async_tree(watch, 3)
        tree = [tuple(process) for process in (await watch.fresh_status())["tree"]]
        status = await watch.stop(grace_s=0.3)
        assert status["exit_code"] == -signal.SIGKILL
        assert not any(is_alive(process) for process in tree)

    asyncio.run(scenario())


async def until_async_tree(watch: Watch, size: int) -> None:
    """Ask for the tree until it has so many processes."""
    async with asyncio.timeout(15):
        while len((await watch.fresh_status())["tree"]) != size:
            pass


def test_workers_whose_engine_is_killed_are_swept_before_it_counts_as_ended() -> None:
    async def scenario() -> None:
        watch = await Watch.start(spec_of("--no-listen", "--workers", 2))
        await until_async_tree(watch, 3)
        engine, *workers = [tuple(process) for process in (await watch.fresh_status())["tree"]]
        assert list(engine) == (await watch.fresh_status())["engine"]
        send_signal(engine, signal.SIGKILL)
        status = await watch.ended()
        assert (status["exit_code"], status["stop_asked"]) == (-signal.SIGKILL, False)
        assert not any(is_alive(worker) for worker in workers)

    asyncio.run(scenario())


def test_a_stopped_process_hears_the_stop() -> None:
    async def scenario() -> None:
        watch = await Watch.start(spec_of("--no-listen"))
        send_signal(tuple((await watch.fresh_status())["engine"]), signal.SIGSTOP)
        assert (await watch.stop())["exit_code"] == -signal.SIGTERM

    asyncio.run(scenario())


def test_the_engine_dies_with_a_killed_shim() -> None:
    async def scenario() -> None:
        watch = await Watch.start(spec_of("--no-listen"))
        engine = tuple((await watch.fresh_status())["engine"])
        os.kill(watch.client.status["shim"][0], signal.SIGKILL)
        await watch.task
        until(lambda: not is_alive(engine))
        with pytest.raises(ConnectionError):
            await watch.client.ask("status")

    asyncio.run(scenario())


def test_an_engine_whose_shim_has_died_already_does_not_begin() -> None:
    code = (
        "import subprocess, sys; sys.path.insert(0, sys.argv[1])\n"
        "from launchdeck.serving.shim.engine import die_with\n"
        "command = [sys.executable, '-c', 'print(1)']\n"
        "raise SystemExit(subprocess.Popen(command, preexec_fn=lambda: die_with(1)).wait())"
    )
    app = str(Path(sys.modules["launchdeck"].__file__).parents[1])
    ended = subprocess.run([sys.executable, "-I", "-c", code, app], capture_output=True, check=False)
    assert (ended.returncode, ended.stdout) == (1, b"")


def test_the_engine_keeps_its_standard_input() -> None:
    async def scenario() -> None:
        watch = await Watch.start(spec_of("--no-listen", "--end-with-stdin", "--say", "up"))
        await watch.client.ask("follow", offset=0)
        await watch.event("log")
        await asyncio.sleep(0.3)
        assert (await watch.fresh_status())["ended_at_s"] is None
        await watch.stop()

    asyncio.run(scenario())


def test_a_stop_ends_the_standard_input_of_an_engine_that_waits_for_that() -> None:
    async def scenario() -> None:
        watch = await Watch.start(spec_of("--no-listen", "--ignore-term", "--end-with-stdin", "--say", "up"))
        await watch.client.ask("follow", offset=0)
        await watch.event("log")
        assert (await watch.stop())["exit_code"] == 0

    asyncio.run(scenario())


@pytest.mark.parametrize("policy", ["keep", "stop"])
def test_the_policy_is_carried_out_when_the_holder_vanishes(policy: str) -> None:
    async def scenario() -> None:
        spec = spec_of("--no-listen")
        watch = await Watch.start(spec)
        engine = tuple((await watch.fresh_status())["engine"])
        await watch.client.ask("hold", when_app_dies=policy)
        await watch.client.close()
        if policy == "stop":
            await until_async(lambda: not is_alive(engine))
            return
        again = Watch(await ShimClient.connect(Path(spec["socket"])))
        await asyncio.sleep(0.3)
        assert is_alive(engine)
        await again.stop()

    asyncio.run(scenario())


def test_a_holder_that_releases_leaves_the_model_alone() -> None:
    async def scenario() -> None:
        spec = spec_of("--no-listen")
        watch = await Watch.start(spec)
        await watch.client.ask("hold", when_app_dies="stop")
        await watch.client.ask("release")
        await watch.client.close()
        await asyncio.sleep(0.3)
        again = Watch(await ShimClient.connect(Path(spec["socket"])))
        assert (await again.fresh_status())["stop_asked"] is False
        await again.stop()

    asyncio.run(scenario())


def test_sigterm_to_the_shim_is_a_stop() -> None:
    async def scenario() -> None:
        watch = await Watch.start(spec_of("--no-listen"))
        os.kill(watch.client.status["shim"][0], signal.SIGTERM)
        status = await watch.ended()
        assert (status["exit_code"], status["stop_asked"]) == (-signal.SIGTERM, True)

    asyncio.run(scenario())


def test_the_socket_is_made_again_when_its_folder_vanishes() -> None:
    async def scenario() -> None:
        spec = spec_of("--no-listen")
        path = Path(await PlainLauncher().launch(spec))
        path.unlink()
        path.parent.rmdir()
        await until_async(path.exists)
        await Watch(await ShimClient.connect(path)).stop()

    asyncio.run(scenario())


@pytest.mark.parametrize("harm", ["truncated", "deleted", "folder deleted", "overwritten"])
def test_a_record_that_is_harmed_is_written_again(harm: str) -> None:
    async def scenario() -> None:
        spec = spec_of("--no-listen", "--chatter")
        watch = await Watch.start(spec)
        folder = Path(spec["folder"])
        path = folder / "record.json"
        await until_async(lambda: record_of(spec)["engine"] is not None)
        written = path.read_text()
        if harm == "folder deleted":
            gone = folder.rename(folder.with_name("gone"))  # at once: the shim writes while a tree is deleted
            shutil.rmtree(gone)
        elif harm == "deleted":
            path.unlink()
        else:
            path.write_text(written[:100] if harm == "truncated" else "{}")
        await until_async(lambda: path.exists() and path.read_text() == written)
        await until_async(lambda: any(folder.glob("log-*")))
        assert (await watch.stop())["exit_code"] == -signal.SIGTERM

    asyncio.run(scenario())


def test_a_log_that_is_deleted_goes_on_in_another_file() -> None:
    async def scenario() -> None:
        spec = spec_of("--no-listen", "--chatter")
        watch = await Watch.start(spec)
        folder = Path(spec["folder"])
        await until_async(lambda: any(folder.glob("log-*")))
        for path in folder.glob("log-*"):
            path.unlink()
        await until_async(lambda: sum(size for _, size in segments(str(folder))) > 100)
        await watch.stop()

    asyncio.run(scenario())


def test_nonsense_ends_the_connection_and_nothing_else() -> None:
    async def scenario() -> None:
        spec = spec_of("--no-listen")
        watch = await Watch.start(spec)
        for nonsense in (b"\xff\n", b"[]\n", b"{}\n", b"x" * 300_000):
            reader, writer = await asyncio.open_unix_connection(spec["socket"], limit=1 << 20)
            await reader.readline()
            writer.write(nonsense)
            with contextlib.suppress(ConnectionResetError):
                assert await reader.read() == b""
            writer.close()
        with pytest.raises(ValueError, match="unknown request"):
            await watch.client.ask("dance")
        with pytest.raises(ValueError, match="could not convert"):
            await watch.client.ask("stop", grace_s="soon")
        await watch.stop()

    asyncio.run(scenario())


def test_secrets_are_handed_over_the_socket_and_stand_nowhere_else(launchdeck_home: Path) -> None:
    canary = "canary-0123456789abcdef"

    async def scenario() -> None:
        spec = spec_of(
            "--no-listen", "--say-env", "LLAMA_API_KEY",
            env={"LLAMA_API_KEY": canary}, redact=[canary], secrets={"api_key": canary},
        )  # fmt: skip
        watch = await Watch.start(spec)
        await watch.client.ask("follow", offset=0)
        await until_async(lambda: b"LLAMA_API_KEY=***\n" in log_of(watch))
        status = await watch.fresh_status()
        assert (await watch.client.ask("secrets"))["secrets"] == {"api_key": canary}
        assert canary not in json.dumps(status)
        for pid, _ in (status["shim"], status["engine"]):
            assert canary.encode() not in Path(f"/proc/{pid}/cmdline").read_bytes()
        await watch.stop()
        for file in launchdeck_home.rglob("*"):
            assert not file.is_file() or canary.encode() not in file.read_bytes()

    asyncio.run(scenario())


def environment_of(pid: int) -> list[bytes]:
    return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")


def test_all_that_is_started_carries_the_mark_of_its_record() -> None:
    async def scenario() -> None:
        spec = spec_of("--no-listen", "--workers", 1)
        watch = await Watch.start(spec)
        await until_async_tree(watch, 2)
        value = record_of(spec)["mark"]
        assert VALUE.fullmatch(value)
        for pid, _ in (await watch.fresh_status())["tree"]:
            wanted = {f"LAUNCHDECK_DEPLOYMENT={spec['id']}".encode(), f"LAUNCHDECK_MARK={value}".encode()}
            await until_async(lambda pid=pid, wanted=wanted: wanted <= set(environment_of(pid)))
        assert value.encode() not in b"".join(environment_of(watch.client.status["shim"][0]))
        await watch.stop()

    asyncio.run(scenario())


def test_no_launch_has_the_mark_of_another() -> None:
    async def scenario() -> None:
        spec = spec_of("--no-listen")
        values = []
        for _ in range(2):
            watch = await Watch.start(spec)
            values.append(record_of(spec)["mark"])
            await watch.stop()
            until(lambda: not Path(spec["socket"]).exists())
        assert values[0] != values[1]

    asyncio.run(scenario())


def test_the_mark_does_not_get_into_the_log() -> None:
    async def scenario() -> None:
        watch = await Watch.start(spec_of("--no-listen", "--say-env", "LAUNCHDECK_MARK"))
        await watch.client.ask("follow", offset=0)
        await until_async(lambda: b"LAUNCHDECK_MARK=***\n" in log_of(watch))
        await watch.stop()

    asyncio.run(scenario())


PAST_THE_FIRST_LOOK = (
    "import json, os, sys; sys.path.insert(0, sys.argv[1])\n"
    "from launchdeck.serving.shim.main import listen, make_folder, run_shim\n"
    "spec = json.load(sys.stdin)\n"
    "make_folder(spec['folder'])\n"
    "listener, (report, answer) = listen(spec['socket']), os.pipe()\n"
    "if os.fork() == 0:\n"
    "    os.close(report)\n"
    "    sys.exit(run_shim(spec, listener, answer))\n"
    "os.close(answer)\n"
    "os.read(report, 1)\n"
)


@pytest.mark.parametrize("is_alive_still", [True, False])
def test_an_application_that_dies_while_its_launcher_works_starts_nothing(is_alive_still: bool) -> None:
    """It passed the launcher's look, and was gone before the record was there for the next application to find."""

    async def scenario() -> None:
        spec = spec_of("--no-listen") | {"launched_by": os.getpid() if is_alive_still else 1}
        app = str(Path(sys.modules["launchdeck"].__file__).parents[1])
        command = [sys.executable, "-I", "-S", "-c", PAST_THE_FIRST_LOOK, app]
        await asyncio.to_thread(subprocess.run, command, input=json.dumps(spec), text=True, check=True)
        watch = Watch(await ShimClient.connect(Path(spec["socket"])))
        status = await watch.fresh_status() if is_alive_still else await watch.ended()
        assert (status["engine"] is not None) is is_alive_still
        if is_alive_still:
            await watch.stop()
        else:
            assert "the application that asked for it has ended" in status["start_error"]["reason"]

    asyncio.run(scenario())


def test_the_environment_is_ours_less_what_is_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEPT", "1")
    monkeypatch.setenv("TAKEN", "1")

    async def scenario() -> None:
        names = ("KEPT", "TAKEN", "ADDED")
        switches = [part for name in names for part in ("--say-env", name)]
        watch = await Watch.start(spec_of("--no-listen", *switches, env={"ADDED": "2"}, env_unset=["TAKEN"]))
        await watch.client.ask("follow", offset=0)
        await until_async(lambda: log_of(watch).count(b"\n") >= 3)
        assert log_of(watch).splitlines()[:3] == [b"KEPT=1", b"TAKEN=None", b"ADDED=2"]
        await watch.stop()

    asyncio.run(scenario())


def test_fault_19_a_flood_is_bounded_on_disk_and_for_the_follower() -> None:
    async def scenario() -> None:
        spec = spec_of("--no-listen", "--say", "first line", "--flood-mib", 200)
        watch = await Watch.start(spec)
        await watch.client.ask("follow", offset=0)
        async with asyncio.timeout(60):
            while not any(event["event"] == "dropped" for event in watch.events):
                assert sum(size for _, size in segments(spec["folder"])) <= spec["log_limit_bytes"]
                await asyncio.sleep(0.05)
        assert log_of(watch).startswith(b"first line\n")
        status = await watch.stop()
        dropped = sum(event["size"] for event in watch.events if event["event"] == "dropped")
        assert dropped > 0
        assert dropped + len(log_of(watch)) == status["log_size"]

    asyncio.run(scenario())


def test_fault_19_no_batch_keeps_a_follower_busy_for_long() -> None:
    """However much there is, and were it nothing but the ends of lines."""
    written = b"\n" * 5000 + b"x" * 40_000 + b"\n"

    async def scenario() -> None:
        watch = await Watch.start(spec_of("--no-listen", "--raw", written.hex()))
        await watch.client.ask("follow", offset=0)
        await until_async(lambda: written in log_of(watch))
        batches = [base64.b64decode(event["data"]) for event in watch.events if event["event"] == "log"]
        assert max(map(len, batches)) <= BATCH_BYTES
        assert max(batch.count(b"\n") for batch in batches) <= BATCH_LINES
        await watch.stop()

    asyncio.run(scenario())


def test_fault_21_a_full_disk_costs_log_and_not_the_model() -> None:
    """A limit on the size of files stands for the full disk: the kernel refuses to write more in the same way."""

    async def scenario() -> None:
        spec = spec_of("--no-listen", "--chatter")
        watch = await Watch.start(spec)
        shim = watch.client.status["shim"][0]
        await watch.client.ask("follow", offset=0)
        await watch.event("log")
        no_limit = resource.prlimit(shim, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
        await watch.client.ask("note", note={"ready_at_s": 5.0})
        await watch.event("warning")
        told = len(log_of(watch))
        await until_async(lambda: len(log_of(watch)) > told)
        assert record_of(spec)["note"] == {}
        resource.prlimit(shim, resource.RLIMIT_FSIZE, no_limit)
        await until_async(lambda: record_of(spec)["note"] == {"ready_at_s": 5.0})
        await until_async(lambda: len(list(Path(spec["folder"]).glob("log-*"))) == 2)
        assert sum(event["event"] == "warning" for event in watch.events) == 1
        assert sum(event["event"] == "dropped" for event in watch.events) == 0
        assert (await watch.stop())["stop_asked"]

    asyncio.run(scenario())


def test_who_follows_after_the_end_is_told_of_it_once_the_log_is_there() -> None:
    async def scenario() -> None:
        watch = await Watch.start(spec_of("--no-listen", "--say", "last words", "--exit-code", 3))
        assert not (await watch.event("ended"))["following"]
        await watch.client.ask("follow", offset=0)
        await until_async(lambda: any(event.get("following") for event in watch.events))
        assert [event["event"] for event in watch.events][-2:] == ["log", "ended"]
        assert log_of(watch) == b"last words\n"
        await watch.client.close()

    asyncio.run(scenario())


def test_a_note_is_kept_in_the_record() -> None:
    async def scenario() -> None:
        spec = spec_of("--no-listen")
        watch = await Watch.start(spec)
        await watch.client.ask("note", note={"ready_at_s": 5.0})
        assert (await watch.stop())["note"] == {"ready_at_s": 5.0}
        assert record_of(spec)["note"] == {"ready_at_s": 5.0}

    asyncio.run(scenario())


@pytest.mark.parametrize("fault", ["long path", "folder is a file"])
def test_a_launch_that_cannot_be_supervised_starts_nothing(launchdeck_home: Path, fault: str) -> None:
    spec = spec_of("--no-listen")
    if fault == "long path":
        spec["socket"] = str(launchdeck_home / ("x" * 120) / "s.sock")
    else:
        Path(spec["folder"]).parent.mkdir(parents=True)
        Path(spec["folder"]).touch()
    with pytest.raises(LaunchdeckError, match="supervisor could not be started"):
        asyncio.run(PlainLauncher().launch(spec))


def test_a_launch_whose_application_has_died_meanwhile_starts_nothing() -> None:
    """The next application may have looked for records already: it would never find this one."""
    spec = spec_of("--no-listen", launched_by=1)
    with pytest.raises(LaunchdeckError, match="has ended"):
        asyncio.run(PlainLauncher().launch(spec))
    assert not Path(spec["folder"]).exists()
    assert not Path(spec["socket"]).exists()


def test_identify_gives_none_for_a_pid_without_process() -> None:
    assert identify(2**22 + 1) is None
