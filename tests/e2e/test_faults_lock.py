"""The lock of the one application: whoever has it and does not answer is told, and nothing else gets its signal."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Self

import pytest

from e2e.real_application import DEADLINE_S, RealApplication, application

SECOND = (sys.executable, "-m", "launchdeck", "--api-port", "0")
SECOND_SERVE = (sys.executable, "-m", "launchdeck", "serve", "--api-port", "0")
AN_HOUR_S = 3600
HOLDER = """
import fcntl, os, signal, sys
heard = []
signal.signal(signal.SIGUSR1, lambda *_: print("heard", flush=True))
file = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
fcntl.flock(file, fcntl.LOCK_EX)
os.pwrite(file, sys.argv[2].replace("PID", str(os.getpid())).encode(), 0)
print("holds", flush=True)
while True:
    signal.pause()
"""


def second(app: RealApplication, command: tuple[str, ...] = SECOND) -> tuple[int, str, float]:
    """Its exit status, what it said, and how many seconds it took."""
    began_s = time.monotonic()
    environment = os.environ | {"LAUNCHDECK_HOME": str(app.home)}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100, check=False)
    assert "Traceback" not in result.stderr
    print(result.stdout, result.stderr)
    return result.returncode, result.stdout + result.stderr, time.monotonic() - began_s


def make_old(app: RealApplication) -> None:
    """A window that has just been started is given longer."""
    lock = app.paths.state / "instance.lock"
    os.utime(lock, (time.time() - AN_HOUR_S,) * 2)


class Holder:
    """Another process that has the lock, and what it has heard."""

    def __init__(self, app: RealApplication, text: str) -> None:
        app.paths.state.mkdir(parents=True, exist_ok=True)
        lock = str(app.paths.state / "instance.lock")
        self.process = subprocess.Popen([sys.executable, "-c", HOLDER, lock, text], stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "holds\n"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.heard = self.end()

    def end(self) -> str:
        self.process.kill()
        return self.process.communicate()[0]


def test_a_window_that_is_stopped_is_told_and_answers_when_it_goes_on() -> None:
    with application() as app:
        app.start()
        os.kill(app.pid, signal.SIGSTOP)
        make_old(app)
        try:
            for command in (SECOND, SECOND_SERVE):
                status, said, took_s = second(app, command)
                assert (status, f"as process {app.pid}, and does not answer" in said) == (1, True), said
                assert "kill" in said
                assert took_s < DEADLINE_S
        finally:
            os.kill(app.pid, signal.SIGCONT)
        status, said, _ = second(app)
        assert (status, "brought to the front" in said) == (0, True)
        assert app.terminate() == 0


def test_a_serve_that_is_stopped_is_told_to_a_window() -> None:
    with application() as app:
        app.start(SECOND_SERVE[1:])
        os.kill(app.pid, signal.SIGSTOP)
        make_old(app)
        try:
            status, said, took_s = second(app)
            assert (status, f"as process {app.pid}, and does not answer" in said) == (1, True), said
            assert took_s < DEADLINE_S
        finally:
            os.kill(app.pid, signal.SIGCONT)
        assert app.terminate() == 0


def test_of_a_window_of_the_version_before_nothing_is_claimed() -> None:
    with application() as app, Holder(app, "window PID") as holder:
        status, said, _ = second(app)
        assert (status, "asked to come to the front" in said) == (0, True)
        assert "brought" not in said
    assert holder.heard == "heard\n"


def test_a_process_that_has_the_number_of_another_gets_no_signal() -> None:
    """SIGUSR1 ends whoever does not expect it."""
    innocent = subprocess.Popen(["sleep", "100"])
    with application() as app, Holder(app, f"window {innocent.pid}\n") as holder:
        status, said, _ = second(app)
        assert (status, "Launchdeck runs already" in said) == (1, True)
        assert innocent.poll() is None
    innocent.kill()
    innocent.wait()
    assert holder.heard == ""


@pytest.mark.parametrize("text", ["", "garbage", "window -1\n", "window 0\n", "window 1\n", "x" * 10_000, "\0" * 99])
def test_garbage_in_it_is_no_reason_for_anything_worse(text: str) -> None:
    with application() as app:
        app.paths.state.mkdir(parents=True)
        lock = app.paths.state / "instance.lock"
        lock.write_text(text)
        app.start()
        assert lock.read_text().split() == ["window", str(app.pid)]
        assert app.terminate() == 0


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo, lambda path: path.symlink_to("/dev/null")])
@pytest.mark.parametrize("command", [SECOND, SECOND_SERVE], ids=["window", "serve"])
def test_what_is_no_lock_file_is_told(command: tuple[str, ...], make) -> None:
    with application() as app:
        app.paths.state.mkdir(parents=True)
        lock = app.paths.state / "instance.lock"
        make(lock)
        status, said, _ = second(app, command)
        assert (status, str(lock) in said) == (1, True), said
        assert os.path.lexists(lock)
        assert Path("/dev/null").is_char_device()


def test_one_that_has_just_ended_is_followed() -> None:
    """Its lock is free, whatever stands in it."""
    with application() as app:
        with Holder(app, "window PID\n"):
            pass
        with (app.paths.state / "instance.lock").open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        app.start()
        assert app.terminate() == 0
