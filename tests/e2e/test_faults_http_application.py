"""The application as a program sees it, when it is killed, asked to end, started twice, starved of ports or disk, or
flooded with readers. Faults 1 to 3, 7, 10, 12, 13, 18, 21 to 24 and 26, each with an application of its own.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.real_application import (
    DEADLINE_S,
    WINDOW,
    WITHOUT_WINDOW,
    RealApplication,
    application,
    gone_after,
    resident_mib,
    took,
)
from fakes.serving import alive, answers, until
from launchdeck.serving.shim.log import segments
from launchdeck.serving.shim.processes import identify

pytestmark = pytest.mark.timeout(300)
SLACK = 5


@pytest.fixture(params=["fake", "built-in"])
def app(request: pytest.FixtureRequest) -> Iterator[RealApplication]:
    """Not started. A window with the fake server, and without a window with the built-in engine."""
    if request.param == "fake":
        with application() as fake:
            yield fake
    else:
        program, model = request.getfixturevalue("built_in_server"), request.getfixturevalue("demo_model")
        with application(program, model) as real:
            real.command = WITHOUT_WINDOW
            yield real


def three(app: RealApplication) -> list[tuple[str, str, int, str]]:
    """Three models that run, by what has to survive."""
    for number in range(3):
        app.load(f"model-{number}", "--say", "first line", "--chatter")
    return [known(app, f"model-{number}") for number in range(3)]


def known(app: RealApplication, name: str) -> tuple[str, str, int, str]:
    entry = app.until_state(name, "running")
    return entry["id"], entry["model_id"], entry["port"], entry["api_key"]


def test_fault_01_killed_with_keep_all_serve_on_and_are_shown_again(app: RealApplication) -> None:
    app.start()
    models = three(app)
    trees = [app.tree(key) for key, *_ in models]
    lines = app.lines("model-0")[:1]
    app.kill()
    assert all(answers(port) for _, _, port, _ in models)
    assert took(app.start) < SLACK * 2.0
    shown = {entry["model_id"]: entry for entry in app.entries()}
    assert {entry["state"] for entry in shown.values()} == {"running"}, "they are known when the interface opens"
    assert [known(app, name) for _, name, _, _ in models] == models
    assert all(entry["measured"]["ready_at_s"] < time.time() for entry in shown.values())
    assert [app.tree(key) for key, *_ in models] == trees
    until(lambda: app.lines("model-0")[:1] == lines, "the log's beginning", DEADLINE_S)
    app.stop("model-0")
    assert not alive(trees[0])
    os.kill(trees[1][0], signal.SIGSEGV)
    assert "SIGSEGV" in app.until_state("model-1", "failed")["error"]["message"]


def test_fault_01_killed_with_stop_all_trees_die_and_the_ports_are_free(app: RealApplication) -> None:
    app.change_settings(when_app_dies="stop", stop_grace_s=60.0)
    app.start()
    for number in range(3):
        app.load(f"model-{number}", "--ignore-term", "--workers", 1, "--stubborn-workers")
    models = [known(app, f"model-{number}") for number in range(3)]
    trees = [pid for key, *_ in models for pid in app.tree(key, 2)]
    app.kill()
    print("gone after", gone_after(trees, SLACK * 5.0))
    assert not any(answers(port) for _, _, port, _ in models)
    app.start()
    assert app.entries() == [], "stopped as wished"
    assert app.running("again")["port"] == models[0][2]


def test_fault_02_a_killed_shim_is_a_failure_and_nothing_is_left(app: RealApplication) -> None:
    app.start()
    entry = app.running("orphan", "--workers", 2, "--stubborn-workers")
    tree = app.tree(entry["id"], 3)
    os.kill(app.shim(entry["id"]), signal.SIGKILL)
    took_s = took(lambda: app.until_state("orphan", "failed"))
    assert app.entry("orphan")["error"]["cause"] == "supervisor_lost"
    assert not alive(tree)
    assert took_s < SLACK * 5


def test_fault_03_application_and_shims_killed(app: RealApplication) -> None:
    app.start()
    entry = app.running("lost", "--workers", 2, "--stubborn-workers")
    tree = app.tree(entry["id"], 3)
    app.kill()
    os.kill(app.shim(entry["id"]), signal.SIGKILL)
    until(lambda: len(alive(tree)) == 2, "the engine to die with its shim")
    app.start()
    assert app.entry("lost")["error"]["cause"] == "supervisor_lost"
    assert not alive(tree)
    assert not list(app.paths.runtime.glob("*.sock"))


def test_fault_03_an_impostor_is_left_alone() -> None:
    """Its pid stands in the record, as that of shim, engine and worker; its start time does not."""
    impostor = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
    with application() as app:
        app.start(WITHOUT_WINDOW)
        entry = app.running("lost")
        tree = app.tree(entry["id"])
        app.kill()
        record = app.paths.records / entry["id"] / "record.json"
        shim = app.shim(entry["id"])
        os.kill(shim, signal.SIGKILL)
        until(lambda: not alive([shim, *tree]), "both to die")
        text = record.read_text()
        for pid in (shim, *tree):
            text = text.replace(f"[{pid}, ", f"[{impostor.pid}, ")
        assert f"[{impostor.pid}, " in text
        record.write_text(text)
        app.start(WITHOUT_WINDOW)
        assert app.entry("lost")["error"]["cause"] == "supervisor_lost"
    assert impostor.poll() is None
    impostor.kill()
    impostor.wait()


@pytest.mark.parametrize("policy", ["ask", "keep", "stop"])
def test_fault_07_sigterm_is_a_quit(policy: str) -> None:
    with application(on_quit=policy) as app:
        app.start()
        entry = app.running("model", "--ignore-term")
        took_s = took(app.terminate)
        assert app.process is not None
        assert app.process.returncode == 0
        assert took_s < SLACK * (app.settings.stop_grace_s + 3)
        assert answers(entry["port"]) == (policy != "stop")
        assert app.errors == ""


def test_fault_10_restarts_pause_longer_and_longer_and_end() -> None:
    with application(restart="on failure") as app:
        app.start(WITHOUT_WINDOW)
        said = [part for number in range(60) for part in ("--say", f"line {number}")]
        app.load("crashing", "--no-listen", *said, "--exit-code", 3)
        until(lambda: app.entry("crashing")["state"] == "failed", "the end", 60)
        error = app.entry("crashing")["error"]
        assert error["evidence"] == [f"line {number}" for number in range(10, 60)]
        assert app.lines("crashing").count("line 0") == 6
        app.load("too-big", "--no-listen", "--say", "CUDA error: out of memory", "--exit-code", 1)
        until(lambda: app.entry("too-big")["state"] == "failed", "the end")
        assert app.entry("too-big")["error"]["cause"] == "out_of_memory"
        assert len([line for line in app.lines("too-big") if "out of memory" in line]) == 1


def test_fault_12_and_13_silence_is_a_stall_and_output_extends_it_to_the_cap() -> None:
    with application(stall_timeout_s=2.0, load_timeout_s=6.0) as app:
        app.start(WITHOUT_WINDOW)
        began_s = time.monotonic()
        silent = app.load("silent", "--load-s", 600)["id"]
        chatty = app.load("chatty", "--load-s", 600, "--chatter")["id"]
        trees = [*app.tree(silent), *app.tree(chatty)]
        until(lambda: app.entry("silent")["state"] == "failed", "the stall")
        assert "said nothing and did nothing for 2 s" in app.entry("silent")["error"]["message"]
        until(lambda: app.entry("chatty")["state"] == "failed", "the cap")
        assert time.monotonic() - began_s >= 6.0
        assert "longer than 6 s" in app.entry("chatty")["error"]["message"]
        assert not alive(trees)


def test_fault_18_no_port_is_left() -> None:
    """One of the twenty is a model's, all others are other programs'."""
    with application() as app, contextlib.ExitStack() as others:
        app.start(WITHOUT_WINDOW)
        entry = app.running("only")
        for port in set(app.ports) - {entry["port"]}:
            others.enter_context(socket.create_server(("127.0.0.1", port)))
        before = list(app.paths.records.iterdir())
        refused = app.ask_load("one-more")
        assert refused.status_code == 409
        assert "No available ports (max 20 models reached)" in refused.text
        assert list(app.paths.records.iterdir()) == before
        assert [entry["model_id"] for entry in app.entries()] == ["only"]


def test_fault_21_a_full_disk_costs_log_and_not_the_model() -> None:
    """A limit on the size of the shim's files: the kernel refuses to write more in the same way."""
    with application() as app:
        app.start(WITHOUT_WINDOW)
        entry = app.running("model", "--chatter")
        shim = app.shim(entry["id"])
        no_limit = resource.prlimit(shim, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
        until(lambda: "cannot be written" in app.errors, "the warning", DEADLINE_S)
        count = len(app.lines("model"))
        until(lambda: len(app.lines("model")) > count + 20, "more of the log")
        assert app.entry("model")["state"] == "running"
        assert app.errors.count("cannot be written") == 1
        written = log_bytes(app, entry["id"])
        resource.prlimit(shim, resource.RLIMIT_FSIZE, no_limit)
        until(lambda: log_bytes(app, entry["id"]) > written, "writing again", DEADLINE_S)


def log_bytes(app: RealApplication, deployment_id: str) -> int:
    return sum(size for _, size in segments(str(app.paths.records / deployment_id)))


@pytest.mark.parametrize("broken", ["first_port = 80", "langu", 'first_port = "many"', "\0\xff"])
def test_fault_22_broken_settings_are_kept_and_said(broken: str) -> None:
    with application() as app:
        app.paths.settings_file.write_bytes(broken.encode("latin-1"))
        app.launch((*WITHOUT_WINDOW, "--api-port", "0"))
        app.until_open()
        kept = app.paths.settings_file.with_name("settings.toml.corrupt")
        assert kept.read_bytes() == broken.encode("latin-1")
        assert str(kept) in app.errors
        assert app.http.get("/api/management/gpus").status_code == 200


def test_fault_23_a_second_start_raises_the_first_however_early_it_comes() -> None:
    with application(api_enabled=False) as app:
        app.launch()
        second = [started_twice(app) for _ in range(2)]
        until(lambda: "window" in lock_of(app), "the first", DEADLINE_S)
        ends = [process.wait(DEADLINE_S) for process in second]
        assert ends == [0, 0]
        assert app.process is not None
        assert app.process.poll() is None, app.errors
        assert str(app.pid) in lock_of(app)


def started_twice(app: RealApplication) -> subprocess.Popen[bytes]:
    until(lambda: "window" in lock_of(app), "the lock", DEADLINE_S)
    environment = {**os.environ, "LAUNCHDECK_HOME": str(app.home)}
    return subprocess.Popen([sys.executable, "-c", WINDOW], env=environment, stdout=subprocess.DEVNULL)


def lock_of(app: RealApplication) -> str:
    lock = app.paths.state / "instance.lock"
    return lock.read_text() if lock.exists() else ""


def test_fault_23_of_many_started_at_once_one_is_there() -> None:
    with application() as app:
        environment = {**os.environ, "LAUNCHDECK_HOME": str(app.home)}
        many = [subprocess.Popen([sys.executable, "-c", WINDOW], env=environment) for _ in range(4)]
        until(lambda: sum(process.poll() is None for process in many) == 1, "the one", 60)
        (one,) = [process for process in many if process.poll() is None]
        assert [process.returncode for process in many if process is not one] == [0, 0, 0]
        until((app.paths.runtime / "api-url").exists, "its interface", 60)
        one.terminate()
        assert one.wait(DEADLINE_S) == 0


def test_fault_23_a_stale_lock_is_taken() -> None:
    with application() as app:
        app.start()
        entry = app.running("model")
        app.kill()
        assert lock_of(app)
        assert (app.paths.runtime / "api-url").exists()
        app.start()
        assert app.entry("model")["id"] == entry["id"]


def test_fault_24_no_timeout_fires_when_the_machine_wakes_up_or_its_clock_jumps(
    tmp_path: Path, clock_library: Path
) -> None:
    """While the machine sleeps monotonic clocks stand still and the wall's goes on: an hour forward, then back."""
    shift = tmp_path / "shift"
    shift.write_text("0")
    with application(stall_timeout_s=60.0, load_timeout_s=120.0) as app:
        app.environment = {"LD_PRELOAD": str(clock_library), "LAUNCHDECK_FAKE_CLOCK": str(shift)}
        app.start()
        app.running("runs")
        app.load("loads", "--load-s", 6)
        seen = set()
        for seconds in (3600, -3600, 0):
            shift.write_text(str(seconds))
            for _ in range(10):
                seen |= {entry["state"] for entry in app.entries()}
                time.sleep(0.1)
        app.until_state("loads", "running")
        assert seen <= {"starting", "loading", "running"}
        shift.write_text("3600")
        app.stop("runs")
        app.stop("loads")


def test_fault_24_everything_held_up_for_a_while_goes_on(app: RealApplication) -> None:
    """Application, shim and engine stop for longer than three probes take, as in a sleep that the clock did see."""
    app.start()
    entry = app.running("model")
    everybody = [app.pid, app.shim(entry["id"]), *app.tree(entry["id"])]
    for pid in everybody:
        os.kill(pid, signal.SIGSTOP)
    time.sleep(6)
    for pid in everybody:
        os.kill(pid, signal.SIGCONT)
    states = set()
    for _ in range(20):
        states.add(app.entry("model")["state"])
        time.sleep(0.1)
    assert states == {"running"}


def test_fault_26_ten_readers_that_never_read() -> None:
    with application() as app:
        app.start()
        app.running("model", "--flood-mib", 20, "--chatter")
        before_mib = resident_mib(app.pid)
        paths = ("gpus", "loading-status", "events", "logs")
        readers = [never_reads(app, path) for path in paths * 3]
        latencies = []
        for _ in range(100):
            latencies.append(took(app.entries))
            time.sleep(0.02)
        assert max(latencies) < SLACK
        assert resident_mib(app.pid) - before_mib < 100
        for reader in readers:
            reader.close()
        assert app.entry("model")["state"] == "running"


def never_reads(app: RealApplication, name: str) -> socket.socket:
    paths = {
        "gpus": "/api/management/gpus/stream",
        "loading-status": "/api/inference/loading-status/stream",
        "events": "/api/events",
        "logs": "/api/inference/logs/model/stream?lines=10000",
    }
    reader = socket.socket()
    reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
    host, port = app.http.base_url.host, app.http.base_url.port
    reader.connect((host, port))
    token = app.http.headers["Authorization"]
    reader.sendall(f"GET {paths[name]} HTTP/1.1\r\nHost: {host}:{port}\r\nAuthorization: {token}\r\n\r\n".encode())
    return reader


def test_what_was_stopped_by_hand_is_not_there_at_the_next_start() -> None:
    with application() as app:
        app.start(WITHOUT_WINDOW)
        entry = app.running("model")
        app.stop("model")
        tree = app.record(entry["id"]).tree if (app.paths.records / entry["id"]).exists() else ()
        assert not [pid for pid, _ in tree if identify(pid)]
        app.kill()
        app.start(WITHOUT_WINDOW)
        assert app.entries() == []
