"""A journey with a real X server, window manager, tray, keyboard and mouse: nothing inside the application helps."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from conftest import skip_or_fail

pytestmark = pytest.mark.timeout(300)

PROGRAMS = ("Xvfb", "openbox", "trayer", "xdotool")
DEADLINE_S = 60.0


@contextmanager
def running(*command: str, **options: Any) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(command, text=True, **options)
    try:
        yield process
    finally:
        process.terminate()
        process.communicate(timeout=20)


@pytest.fixture
def screen() -> Iterator[dict[str, str]]:
    """The environment of a fresh desktop: X server, window manager, system tray."""
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    if missing:
        skip_or_fail(f"programs for a real X server: {', '.join(missing)}")
    with ExitStack() as stack:
        server = ("Xvfb", "-displayfd", "1", "-screen", "0", "1440x900x24", "-nolisten", "tcp")
        x = stack.enter_context(running(*server, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL))
        assert x.stdout is not None
        environment = {**os.environ, "DISPLAY": f":{x.stdout.readline().strip()}", "QT_QPA_PLATFORM": "xcb"}
        for program in ("openbox", "trayer"):
            stack.enter_context(running(program, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        yield environment


def until(look: Callable[[], Any], what: str) -> Any:
    deadline_s = time.monotonic() + DEADLINE_S
    while not (seen := look()):
        assert time.monotonic() < deadline_s, f"waited for: {what}"
        time.sleep(0.1)
    return seen


def command(*arguments: str, **options: Any) -> str:
    return subprocess.run(arguments, capture_output=True, text=True, timeout=60, check=False, **options).stdout


def status() -> list[dict[str, Any]]:
    return list(json.loads(command(sys.executable, "-m", "launchdeck", "status", "--json"))["models"])


def window_named(name: str, screen: dict[str, str]) -> str:
    found = until(
        lambda: command("xdotool", "search", "--onlyvisible", "--name", name, env=screen).split(), f"window {name}"
    )
    return str(found[-1])


def press(window: str, key: str, screen: dict[str, str]) -> None:
    command("xdotool", "windowactivate", "--sync", window, "key", "--clearmodifiers", key, env=screen)


def pressed_until_deployed(window: str, screen: dict[str, str]) -> bool:
    """Press Deploy's key, and give it time: pressed again too soon, it would deploy another one."""
    press(window, "ctrl+Return", screen)  # does nothing until the form is complete
    patience_s = time.monotonic() + 5
    while time.monotonic() < patience_s:
        if status():
            return True
    return False


def test_deploy_by_keyboard_hide_to_the_tray_and_quit(screen: dict[str, str], demo_model: Path) -> None:
    with running(sys.executable, "-m", "launchdeck", env=screen, stderr=subprocess.PIPE) as application:
        window = window_named("^Launchdeck$", screen)

        until(lambda: pressed_until_deployed(window, screen), "a deployment")
        until(lambda: [model["state"] for model in status()] == ["running"], "a running model")

        command("xdotool", "windowclose", window, env=screen)
        until(lambda: not command("xdotool", "search", "--onlyvisible", "--name", "^Launchdeck$", env=screen), "hiding")
        assert application.poll() is None, "with a tray, closing the window hides it"

        application.terminate()
        _, errors = application.communicate(timeout=30)
        assert (application.returncode, errors) == (0, "")
    assert [model["state"] for model in status()] == ["running"], "the model serves on"
    command(sys.executable, "-m", "launchdeck", "stop", "--all")
    assert status() == []


def test_the_self_test_takes_its_picture_on_a_real_screen(screen: dict[str, str], tmp_path: Path) -> None:
    picture = tmp_path / "window.png"
    report = command(sys.executable, "-m", "launchdeck", "selftest", "--json", "--screenshot", str(picture), env=screen)
    assert json.loads(report)["ok"] is True
    assert picture.read_bytes().startswith(b"\x89PNG")
