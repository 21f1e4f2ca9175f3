"""The unit in packaging/ under a real systemd, where one can be run: as root, in namespaces of its own."""

from __future__ import annotations

import configparser
import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.real_application import DEADLINE_S, WITHOUT_WINDOW, RealApplication, application
from fakes.serving import answers, until

pytestmark = pytest.mark.timeout(300)
UNIT = Path(__file__).parents[2] / "packaging" / "launchdeck.service"
SCRIPT = Path(__file__).with_name("service_manager.sh")


class ServiceManager:
    """One user's systemd. Its home is the application's, which runs under it."""

    def __init__(self, app: RealApplication, runtime: Path) -> None:
        self._environment = {**os.environ, "HOME": str(app.home), "XDG_RUNTIME_DIR": str(runtime)}
        self._environment.pop("DBUS_SESSION_BUS_ADDRESS", None)
        self._cgroup = f"launchdeck-test-{os.getpid()}"
        self._said = app.home / "systemd.txt"
        command = ["unshare", "--mount", "--pid", "--fork", "--kill-child", str(SCRIPT), self._cgroup]
        with self._said.open("wb") as said:
            self._process = subprocess.Popen(command, env=self._environment, stdout=said, stderr=said)

    def is_up(self) -> bool:
        return self.systemctl("show", "--property=Version").returncode == 0

    def why_not(self) -> str | None:
        """Why this machine lets no systemd run; None where it does."""
        with contextlib.suppress(AssertionError):
            until(lambda: self.is_up() or self._process.poll() is not None, patience_s=DEADLINE_S)
        return (
            None if self.is_up() else self._said.read_text(errors="replace") or f"it ended with {self._process.poll()}"
        )

    def systemctl(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Inside: a process that its namespace does not know would be answered now and then."""
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        inside = ["nsenter", "--mount", "--pid", "--target", *children[:1]]
        command = [*inside, "systemctl", "--user", "--no-pager", *arguments]
        return subprocess.run(command, env=self._environment, check=False, capture_output=True, text=True)

    def close(self) -> None:
        self._process.kill()  # and with it every process of its namespace
        self._process.wait()
        tidy = f"mount -t cgroup2 none /mnt && find /mnt/{self._cgroup} -depth -type d -exec rmdir {{}} +"
        until(lambda: not subprocess.run(["unshare", "--mount", "bash", "-c", tidy], check=False).returncode, "tidy")


@pytest.fixture
def app() -> Iterator[RealApplication]:
    with application() as real:
        yield real


@pytest.fixture
def manager(app: RealApplication, tmp_path: Path) -> Iterator[ServiceManager]:
    if os.geteuid() != 0 or not all(map(shutil.which, ("systemctl", "unshare", "nsenter"))):
        pytest.skip("a systemd of our own takes root, systemctl, unshare and nsenter")
    tmp_path.chmod(0o700)
    started = ServiceManager(app, tmp_path)
    try:
        reason = started.why_not()
        if reason is not None:
            pytest.skip(f"no systemd can run here: {reason}")
        yield started
    finally:
        started.close()


def install_unit(app: RealApplication) -> None:
    """As README has it, with the program at the place that the unit names."""
    program = app.home / ".local" / "bin" / "launchdeck"
    program.parent.mkdir(parents=True)
    program.write_text(f'#!/bin/sh\nexec {sys.executable} {" ".join(WITHOUT_WINDOW[:2])} "$@"\n')
    program.chmod(0o755)
    units = app.home / ".config" / "systemd" / "user"
    units.mkdir(parents=True)
    shutil.copy(UNIT, units)
    units.joinpath("launchdeck.service.d").mkdir()
    environment = f"[Service]\nEnvironment=LAUNCHDECK_HOME={app.home}\nRestartSec=0\n"
    units.joinpath("launchdeck.service.d", "test.conf").write_text(environment)


def test_a_restart_by_the_service_manager_and_a_crash_keep_the_models(
    app: RealApplication, manager: ServiceManager
) -> None:
    install_unit(app)
    manager.systemctl("daemon-reload")
    done = manager.systemctl("start", "launchdeck")
    assert done.returncode == 0, done.stderr
    app.join()
    before = [(entry["id"], entry["port"]) for entry in map(app.running, ("one", "two"))]
    for call in (("restart",), ("kill", "--kill-whom=main", "--signal=SIGKILL")):
        first = manager.systemctl("show", "--property=MainPID", "launchdeck").stdout
        done = manager.systemctl(*call, "launchdeck")
        assert done.returncode == 0, done.stderr
        until(lambda old=first: manager.systemctl("show", "--property=MainPID", "launchdeck").stdout != old, "another")
        until(lambda: manager.systemctl("is-active", "launchdeck").stdout == "active\n", "ready", DEADLINE_S)
        app.join()
        assert [(entry["id"], entry["port"]) for entry in app.entries()] == before
        assert {entry["state"] for entry in app.entries()} == {"running"}
    app.stop("one")
    assert not answers(before[0][1])
    manager.systemctl("stop", "launchdeck")
    assert answers(before[1][1])


def test_the_unit_lets_the_models_be() -> None:
    """systemd.kill(5), systemd.service(5): only the main process is ended, and a model without memory ends itself."""
    unit = configparser.ConfigParser(interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(UNIT)
    assert unit["Service"]["KillMode"] == "process"
    assert unit["Service"]["OOMPolicy"] == "continue"
    assert unit["Service"]["Type"] == "notify"


def test_systemd_understands_the_unit(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd-analyze")
    shutil.copy(UNIT, tmp_path)
    command = ["systemd-analyze", "--user", "verify", str(tmp_path / UNIT.name)]
    environment = {**os.environ, "XDG_RUNTIME_DIR": str(tmp_path), "HOME": str(tmp_path)}
    said = subprocess.run(command, env=environment, check=False, capture_output=True, text=True).stderr.splitlines()
    not_installed = ("launchdeck is not executable", "'man launchdeck(1)'")
    assert [line for line in said if not any(part in line for part in not_installed)] == []
