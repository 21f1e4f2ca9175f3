"""The application as a program sees it, while engines die, hang, lie, flood and will not go. Faults 4 to 6, 8, 9, 11,
14 to 17, 19, 20 and 27 to 29: one window offscreen for all of them, and where it says so the built-in engine.
"""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from e2e.events import Events
from e2e.real_application import (
    DEADLINE_S,
    WITHOUT_WINDOW,
    RealApplication,
    application,
    resident_mib,
    took,
)
from fakes.serving import answers, fake_command, is_legal, processes_of, until
from launchdeck.domain.deployment import State
from launchdeck.serving.shim.log import segments
from launchdeck.serving.shim.processes import identify

pytestmark = pytest.mark.timeout(300)
SLACK = 5
CANARY = "canary-0123456789abcdef"


@pytest.fixture(scope="module")
def app() -> Iterator[RealApplication]:
    with application() as fake:
        fake.environment["HF_TOKEN"] = CANARY
        yield fake.start()


@pytest.fixture(scope="module", params=["fake", "built-in"])
def either(request: pytest.FixtureRequest) -> Iterator[RealApplication]:
    """With the fake server, and again with the built-in engine."""
    if request.param == "fake":
        yield request.getfixturevalue("app")
    else:
        program, model = request.getfixturevalue("built_in_server"), request.getfixturevalue("demo_model")
        with application(program, model, stop_grace_s=2.0) as real:
            yield real.start()


@pytest.fixture(autouse=True)
def nothing_stays(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    for name in {"app", "either"} & set(request.fixturenames):
        used: RealApplication = request.getfixturevalue(name)
        for entry in used.entries():
            used.stop(entry["id"])
        assert used.process is not None
        assert used.process.poll() is None, used.errors
        assert "Traceback" not in used.errors


def test_fault_04_only_an_empty_tree_is_stopped(either: RealApplication) -> None:
    entry = either.running("stubborn", "--ignore-term", "--workers", 2, "--stubborn-workers")
    tree = either.tree(entry["id"], 3)
    with Events(either) as events, ThreadPoolExecutor(1) as pool:
        stopping = pool.submit(took, lambda: either.stop("stubborn"))
        until(lambda: "stopped" in events.states(entry["id"]), "the event", DEADLINE_S)
        assert not [pid for pid in tree if identify(pid)], "it was said too early"
        took_s = stopping.result()
    assert took_s < SLACK * (either.settings.stop_grace_s + 2)
    assert not answers(entry["port"])


def test_fault_05_workers_do_not_outlive_their_engine(either: RealApplication) -> None:
    entry = either.running("headless", "--workers", 2, "--stubborn-workers")
    tree = either.tree(entry["id"], 3)
    os.kill(tree[0], signal.SIGKILL)
    assert either.load("meanwhile")["port"] != entry["port"]
    failed = either.until_state("headless", "failed")
    assert not [pid for pid in tree if identify(pid)], "failed is said when nothing is left"
    assert (failed["status"], failed["error"]["cause"]) == ("failed", "crashed")
    assert "SIGKILL" in failed["error"]["message"]
    assert either.running("next")["port"] == entry["port"]


@pytest.mark.parametrize("pause_s", [0.0, 0.05, 0.3])
def test_fault_06_a_stop_while_loading_never_shows_running(either: RealApplication, pause_s: float) -> None:
    with Events(either) as events:
        started = either.load("early", "--load-s", 600)
        time.sleep(pause_s)
        was_loading = either.entry("early")["status"] == "loading"  # the real one may be quick
        either.stop("early")
        until(lambda: "stopped" in events.states(started["id"]), "the event", DEADLINE_S)
    assert not was_loading or "running" not in events.states(started["id"])
    assert either.entries() == []
    assert not answers(started["port"])
    until(lambda: [pid for pid, _ in processes_of(either.home)] == [either.pid], "the shim to go", DEADLINE_S)


def test_fault_08_a_storm_of_calls(app: RealApplication) -> None:
    dice = random.Random(8)
    path = app.model("storm", "--load-s", 0.2)

    def call(_number: int) -> int:
        name = f"storm-{dice.randrange(4)}"
        if dice.random() < 0.5:
            return app.ask_load_file(path, name).status_code
        return app.post("unload", model_id=name).status_code

    with Events(app) as events, ThreadPoolExecutor(8) as pool:
        codes = list(pool.map(call, range(50)))
        assert set(codes) <= {200, 202, 404, 409}
        assert codes.count(202) > 5
        until(lambda: {entry["state"] for entry in app.entries()} <= {"running"}, "all to run", DEADLINE_S)
        live = app.entries()
        assert len({entry["model_id"] for entry in live}) == len(live), "one of a name"
        until(lambda: len(processes_of(app.home)) == 1 + 2 * len(live), "a shim and an engine a row", DEADLINE_S)
        for entry in live:
            app.stop(entry["id"])
        until(lambda: all(states[-1] == "stopped" for states in events.all().values()), "all stops", DEADLINE_S)
    for states in events.all().values():
        assert is_legal(map(State, states)), states
    assert not list(app.paths.runtime.glob("*.sock")) or took(lambda: until_no_socket(app)) < DEADLINE_S


def until_no_socket(app: RealApplication) -> None:
    until(lambda: not list(app.paths.runtime.glob("*.sock")), "the shims to go", DEADLINE_S)


def test_fault_09_a_missing_program_is_named_within_a_second(app: RealApplication) -> None:
    program = Path(app.settings.llama_server_path)
    aside = program.rename(program.with_name("aside"))
    try:
        app.load("gone")
        took_s = took(lambda: app.until_state("gone", "failed"))
        program.write_text("not a program")
        program.chmod(0o600)
        app.load("no-program")
        refused = app.until_state("no-program", "failed")
    finally:
        aside.rename(program)
    assert took_s < SLACK * 1.0
    assert str(program) in app.entry("gone")["error"]["message"]
    assert str(program) in refused["error"]["message"]


@pytest.mark.parametrize(("number", "said"), [(11, "SIGSEGV"), (9, "possibly because the machine was out of memory")])
def test_fault_11_the_signal_is_named(app: RealApplication, number: int, said: str) -> None:
    app.load("dies", "--say", "last words", "--no-listen", "--die-of", number)
    error = app.until_state("dies", "failed")["error"]
    assert said in error["message"]
    assert "last words" in error["evidence"]
    assert "last words" in app.lines("dies")


def test_fault_14_a_model_that_hangs_and_one_that_goes_on(either: RealApplication) -> None:
    entry = either.running("sleepy")
    (engine, *_) = either.tree(entry["id"])
    os.kill(engine, signal.SIGSTOP)
    stopped_s = time.monotonic()
    shown = either.until_state("sleepy", "unresponsive")
    assert time.monotonic() - stopped_s > 2.0, "three probes have to fail, each after a second"
    assert shown["status"] == "running"
    os.kill(engine, signal.SIGCONT)
    either.until_state("sleepy", "running")


def test_fault_15_a_busy_model_is_not_called_hanging(either: RealApplication) -> None:
    entry = either.running("busy", "--chatter", "--deaf-after", 3)
    states = set()
    ended_s = time.monotonic() + 6
    with ThreadPoolExecutor(6) as pool:
        for _ in range(6):
            pool.submit(keep_busy, entry, ended_s)
        while time.monotonic() < ended_s:
            states.add(either.entry("busy")["state"])
            time.sleep(0.1)
    assert states == {"running"}


def keep_busy(entry: dict[str, Any], until_s: float) -> None:
    headers = {"Authorization": f"Bearer {entry['api_key']}"}
    body = {"prompt": "a", "max_tokens": 64, "ignore_eos": True}
    while time.monotonic() < until_s:
        try:
            httpx.post(entry["url"] + "/completions", json=body, headers=headers, timeout=5)
        except httpx.HTTPError:
            time.sleep(0.2)


def test_fault_16_a_foreign_listener_is_skipped() -> None:
    """Of any kind: three ports are taken in three ways, and the model gets the fourth."""
    with application() as fresh, socket.socket() as plain, socket.socket() as shared, socket.socket() as only_bound:
        shared.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        for other, port in zip((plain, shared, only_bound), fresh.ports, strict=False):
            other.bind(("127.0.0.1", port))
        plain.listen()
        shared.listen()
        fresh.start(WITHOUT_WINDOW)
        assert fresh.running("fourth")["port"] == fresh.ports[3]


def test_fault_16_a_port_in_time_wait_alone_is_taken(app: RealApplication) -> None:
    first = app.running("first")["port"]
    app.stop("first")
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", first))
        listener.listen()
        client = socket.create_connection(("127.0.0.1", first))
        served, _ = listener.accept()
        served.close()  # who closes first waits
        client.close()
    assert app.running("second")["port"] == first


def test_fault_17_a_stolen_port_is_never_called_running(app: RealApplication) -> None:
    with Events(app) as events:
        started = app.load("robbed", "--bind-after-s", 2)
        command = [*fake_command("--reuse-port"), "--port", str(started["port"])]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as thief:
            try:
                entry = app.until_state("robbed", "running")
                assert entry["port"] != started["port"]
                until(lambda: "running" in events.states(started["id"]), "the event of it")
                assert events.states(started["id"]).count("running") == 1
                assert answers(started["port"]), "the other program was left alone"
            finally:
                thief.kill()


def test_fault_19_a_flood_is_bounded_everywhere(app: RealApplication) -> None:
    before_mib = resident_mib(app.pid)
    names = [f"flood-{number}" for number in range(3)]
    started = [app.load(name, "--say", "first line", "--flood-mib", 200)["id"] for name in names]
    for name in names:
        app.until_state(name, "running", 120)
    for deployment_id in started:
        sizes = [size for _, size in segments(str(app.paths.records / deployment_id))]
        assert sum(sizes) <= app.settings.log_limit_mib * 2**20
    until(lambda: all(any("bytes dropped]" in line for line in app.lines(name)) for name in names), "what is left out")
    assert resident_mib(app.pid) - before_mib < SLACK * 100


def test_fault_20_whatever_bytes_an_engine_writes(app: RealApplication) -> None:
    raw = "한국어\n".encode() + b"\xff\xfe\r 10 %\r 20 %\n\x1b[31mred\x1b[0m\n"
    app.running("odd", "--raw", raw.hex(), "--long-line-mib", 200)
    lines = app.lines("odd")
    assert lines[:3] == ["한국어", " 20 %", "red"]
    assert any("characters cut]" in line or "bytes dropped]" in line for line in lines)
    assert max(map(len, lines)) < 5000


def test_fault_27_the_gate(app: RealApplication) -> None:
    body = {"model_path": str(app.model("gate")), "model_id": "gate", "gpu_indices": [], "n_ctx": 256}
    path = "/api/inference/load"
    token = app.http.headers["Authorization"]
    with httpx.Client(base_url=app.http.base_url) as stranger:
        mine = {"Authorization": token}
        assert stranger.post(path, json=body, headers=mine | {"Host": "evil.example"}).status_code == 403
        assert stranger.post(path, json=body, headers=mine | {"Origin": "null"}).status_code == 403
        assert stranger.post(path, json=body).status_code == 401
        text = {"Content-Type": "text/plain"}
        assert stranger.post(path, content=app_json(body), headers=mine | text).status_code == 415
        for changes, status in (
            ({"model_path": f"{app.models}/../models/gate.gguf"}, 400),
            ({"model_id": "-x"}, 422),
            ({"model_path": "/etc/passwd"}, 403),
            ({"extra_args": ["--api-key", "x"]}, 400),
            ({"host": "0.0.0.0"}, 400),
        ):
            assert stranger.post(path, json=body | changes, headers=mine).status_code == status, changes
    assert app.entries() == []


def app_json(body: dict[str, Any]) -> bytes:
    return httpx.Request("POST", "http://x", json=body).content


def test_fault_28_no_secret_leaves_the_engine(app: RealApplication) -> None:
    entry = app.running("secret", "--say-env", "HF_TOKEN", "--say-env", "LLAMA_API_KEY")
    key = entry["api_key"]
    assert app.lines("secret")[:2] == ["HF_TOKEN=***", "LLAMA_API_KEY=***"]
    engine = app.tree(entry["id"])[0]
    assert f"LLAMA_API_KEY={key}".encode() in Path(f"/proc/{engine}/environ").read_bytes()
    for secret in (CANARY.encode(), key.encode()):
        assert secret not in Path(f"/proc/{engine}/cmdline").read_bytes()
        files = [path for path in app.home.rglob("*") if path.is_file()]
        assert [path for path in files if secret in path.read_bytes()] == []
    answer = app.http.get("/api/inference/loading-status")
    assert CANARY not in answer.text
    with app.http.stream("GET", "/api/inference/logs/secret/stream", params={"lines": 100}) as stream:
        said = next(text for text in stream.iter_text() if "HF_TOKEN" in text)
    assert CANARY not in said
    assert key not in said


def test_fault_29_a_malformed_model_is_a_sentence_and_soon(app: RealApplication) -> None:
    whole = app.model("whole").read_bytes()
    dice = random.Random(29)
    before_mib = resident_mib(app.pid)
    corpus = [
        b"",
        b"GGUF",
        b"GGUF" + b"\xff" * 20,
        whole[:100],
        whole[: len(whole) // 2],
        b"GGUF\3\0\0\0" + b"\xff" * 16,
    ]
    for _ in range(10):
        raw = bytearray(whole)
        at = dice.randrange(4, 2000)
        raw[at : at + 8] = b"\xff" * 8
        corpus.append(bytes(raw))
    for number, raw in enumerate(corpus):
        path = app.model(f"bad-{number}")
        path.write_bytes(raw)
        body = {"model_path": str(path), "gpu_indices": [], "n_ctx": 256}
        began_s = time.monotonic()
        answer = app.post("plan", **body)
        assert time.monotonic() - began_s < SLACK * 2
        assert answer.status_code in {200, 400, 404, 409, 422}, answer.text
        if number < 6:
            assert answer.status_code != 200
            assert "detail" in answer.json()
    assert resident_mib(app.pid) - before_mib < 256
