"""A model folder on a network mount whose server is gone: the application ends soon, whenever it is asked to."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from e2e.real_application import WITHOUT_WINDOW, RealApplication, application
from fakes.dead_mount import DeadMount
from fakes.serving import answers, until

if TYPE_CHECKING:
    from collections.abc import Iterator

DEADLINE_S = 25.0  # five times what is promised
QUITTING = Path(__file__).with_name("quitting_window.py")
COMMANDS = {"window": ("-m", "launchdeck"), "serve": WITHOUT_WINDOW}


@pytest.fixture
def dead(tmp_path: Path) -> Path:
    folder = tmp_path / "mount" / "models"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def app(dead: Path, dead_mount_library: Path) -> Iterator[RealApplication]:
    with application(model_folders=(str(dead),)) as app:
        app.environment = DeadMount(dead_mount_library, dead.parent).environment
        yield app


def ends_after(app: RealApplication, number: signal.Signals = signal.SIGTERM) -> tuple[int, float]:
    """Its exit status, and how many seconds the end took."""
    began_s = time.monotonic()
    os.kill(app.pid, number)
    status = app.process.wait(DEADLINE_S)
    took_s = time.monotonic() - began_s
    print(f"ended with {status} after {took_s:.2f} s\n{app.errors}")
    return status, took_s


@pytest.mark.parametrize("after_s", [0.1, 0.7, 1.5, 4.0])
@pytest.mark.parametrize("command", COMMANDS)
def test_it_ends_soon_whenever_it_is_asked_to(app: RealApplication, command: str, after_s: float) -> None:
    app.launch(COMMANDS[command])
    time.sleep(after_s)
    status, _ = ends_after(app)
    assert status in {0, -signal.SIGTERM}, "before it listens, the signal does what it does"
    assert not (app.paths.runtime / "api-url").exists()
    assert not (app.paths.runtime / "api-token").exists()
    assert "Traceback" not in app.errors


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
@pytest.mark.parametrize("command", COMMANDS)
def test_so_it_does_on_any_signal(app: RealApplication, command: str, number: signal.Signals) -> None:
    before = signal.signal(number, signal.SIG_DFL)  # under nohup, the application would rightly ignore SIGHUP
    try:
        app.start(COMMANDS[command])
    finally:
        signal.signal(number, before)
    status, _ = ends_after(app, number)
    assert status == 0, app.errors


@pytest.mark.parametrize("command", COMMANDS)
def test_so_it_does_where_pipes_lie_beside_the_models(app: RealApplication, command: str, dead: Path) -> None:
    app.environment = {}
    for name in ("model.gguf", "pipe/config.json", "pipe/model.safetensors.index.json", "pipe/modules.json"):
        (dead / name).parent.mkdir(exist_ok=True)
        os.mkfifo(dead / name)
    app.start(COMMANDS[command])
    assert ends_after(app)[0] == 0


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("folder", ["state/deployments", "state/history.npz", "config/window.ini", "state"])
def test_so_it_does_where_its_own_folders_are_away(
    app: RealApplication, dead_mount_library: Path, command: str, folder: str
) -> None:
    """What cannot be put in order then is told."""
    app.environment = DeadMount(dead_mount_library, app.home / folder).environment
    app.launch(COMMANDS[command])
    time.sleep(4.0)
    status, _ = ends_after(app)
    assert status == 0 or "What held it up" in app.errors


@pytest.mark.parametrize("command", COMMANDS)
def test_the_models_serve_on_and_another_one_takes_over(app: RealApplication, command: str) -> None:
    mount, app.environment = app.environment, {}
    app.start(COMMANDS[command])
    entry = app.running("model")
    assert ends_after(app)[0] == 0
    app.environment = mount
    app.start(COMMANDS[command])
    assert ends_after(app)[0] == 0
    assert answers(entry["port"])
    app.start(COMMANDS[command])
    assert app.entry("model")["id"] == entry["id"]
    app.stop("model")
    ends_after(app)


@pytest.mark.parametrize("on_quit", ["keep", "stop"])
def test_quitting_from_the_window_is_as_quick(app: RealApplication, tmp_path: Path, on_quit: str) -> None:
    """With "stop", too: an engine that takes longer to go than an end may take is waited for."""
    app.change_settings(on_quit=on_quit, stop_grace_s=7.0)
    mount, app.environment = app.environment, {}
    app.start(WITHOUT_WINDOW)
    entry = app.running("model", "--ignore-term")
    app.kill()
    app.environment = mount
    app.launch((str(QUITTING), str(tmp_path / "now")))
    app.until_open()
    time.sleep(2.0)
    began_s = time.monotonic()
    (tmp_path / "now").touch()
    assert app.process.wait(DEADLINE_S) == 0, app.errors
    print(f"{on_quit}: ended after {time.monotonic() - began_s:.2f} s")
    assert answers(entry["port"]) is (on_quit == "keep")
    assert "What held it up" not in app.errors


@pytest.mark.parametrize("policy", ["keep", "stop"])
@pytest.mark.parametrize("command", COMMANDS)
def test_an_event_loop_that_is_stuck_is_left_and_the_models_are_kept(
    app: RealApplication, command: str, policy: str, tmp_path: Path
) -> None:
    """Whatever the supervisors are told to do when the application dies: it was asked to end, and to keep them."""
    app.change_settings(when_app_dies=policy)
    (tmp_path / "sitecustomize.py").write_text(STUCK)
    app.environment = {"PYTHONPATH": str(tmp_path), "STUCK_WHEN": str(tmp_path / "now")}
    app.start(COMMANDS[command])
    entry = app.running("model")
    (tmp_path / "now").touch()
    until((tmp_path / "stuck").exists, "the loop to be stuck")
    status, _ = ends_after(app)
    assert status == 1
    assert "Did not end in order" in app.errors
    assert "look_away" in app.errors, "where it stands is told"
    assert not (app.paths.runtime / "api-url").exists()
    time.sleep(1.0)
    assert answers(entry["port"])
    app.environment.pop("PYTHONPATH")
    app.start(COMMANDS[command])
    assert app.entry("model")["state"] == "running"
    app.stop("model")
    ends_after(app)


STUCK = """
import asyncio.events, os, threading, time
run = asyncio.events.Handle._run

def look_away():
    open(os.path.join(os.path.dirname(os.environ["STUCK_WHEN"]), "stuck"), "w").close()
    while True:
        os.read(pipe, 1)

def run_until_stuck(handle):
    if threading.current_thread() is threading.main_thread() and os.path.exists(os.environ.get("STUCK_WHEN", "/-")):
        look_away()
    run(handle)

pipe, _other = os.pipe()
asyncio.events.Handle._run = run_until_stuck
"""
