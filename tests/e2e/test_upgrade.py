"""The package is replaced while models run; and models that another version of Launchdeck has started."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import launchdeck
from e2e.real_application import DEADLINE_S, WITHOUT_WINDOW, RealApplication, application
from e2e.window import in_real_window, quick_settings
from fakes.serving import alive, answers, end_all, free_port, until, until_async
from launchdeck.core import Core
from launchdeck.serving.shim.record import RECORD_VERSION
from launchdeck.ui.application import WindowApplication

pytestmark = pytest.mark.timeout(300)
PACKAGE = Path(str(launchdeck.__file__)).parent
RESOURCES = PACKAGE.parents[1] / "resources"
RECORDED_SHIM = Path(__file__).parents[1] / "fakes" / "recorded_shim.py"
FIRST_RECORD = Path(__file__).parents[1] / "data" / "records" / "version-1.json"


class Installed:
    """A copy of the package in a place of its own, from which an application and its shims run."""

    def __init__(self, folder: Path, app: RealApplication) -> None:
        self.package = folder / "app" / "launchdeck"
        folder.joinpath("resources").symlink_to(RESOURCES)
        app.environment["PYTHONPATH"] = str(self.package.parent)
        app.command = WITHOUT_WINDOW

    def install(self, version: str) -> None:
        """As pip does: what was there goes away first."""
        if self.package.exists():
            shutil.rmtree(self.package)
        shutil.copytree(PACKAGE, self.package, ignore=shutil.ignore_patterns("__pycache__"))
        module = self.package / "__init__.py"
        module.write_text(module.read_text().replace(f'"{launchdeck.__version__}"', f'"{version}"'))


@pytest.fixture
def installed(tmp_path: Path) -> Iterator[tuple[RealApplication, Installed]]:
    with application() as app:
        yield app, Installed(tmp_path, app)


def version_of(app: RealApplication) -> str:
    return str(app.http.get("/openapi.json").json()["info"]["version"])


def known(entry: dict[str, Any]) -> tuple[Any, ...]:
    """What has to be the same before and after."""
    return *(entry[name] for name in ("id", "model_id", "port", "api_key", "applied")), entry["measured"]["ready_at_s"]


def test_an_upgrade_and_a_restart_of_the_service_keep_the_models(installed: tuple[RealApplication, Installed]) -> None:
    """The service manager ends the main process alone (KillMode=process), and starts it again."""
    app, package = installed
    package.install("1.0.0")
    app.start()
    assert version_of(app) == "1.0.0"
    models = [known(app.running(name, "--say", "first line", "--chatter")) for name in ("one", "two")]
    trees = [app.tree(model[0]) for model in models]
    lines = app.lines("one")
    package.install("2.0.0")
    assert [known(entry) for entry in app.entries()] == models, "the old one goes on until it is ended"
    assert app.terminate() == 0
    assert all(answers(port) for _, _, port, *_ in models)
    app.start()
    assert version_of(app) == "2.0.0"
    assert [known(entry) for entry in app.entries()] == models
    assert [app.tree(model[0]) for model in models] == trees
    until(lambda: app.lines("one")[: len(lines)] == lines, "the log from its beginning", DEADLINE_S)
    until(lambda: len(app.lines("one")) > len(lines) + 5, "what it writes now", DEADLINE_S)
    app.stop("one")
    assert not alive(trees[0])
    os.kill(trees[1][0], signal.SIGSEGV)
    assert "SIGSEGV" in app.until_state("two", "failed")["error"]["message"]


def test_a_shim_needs_nothing_of_a_package_that_is_gone(installed: tuple[RealApplication, Installed]) -> None:
    app, package = installed
    package.install("1.0.0")
    app.start()
    stopped, crashed = (app.running(name, "--chatter")["id"] for name in ("stopped", "crashed"))
    trees = app.tree(stopped), app.tree(crashed)
    shims = app.shim(stopped), app.shim(crashed)
    assert all(str(package.package).encode() in Path(f"/proc/{pid}/cmdline").read_bytes() for pid in shims)
    app.kill()
    shutil.rmtree(package.package)
    del app.environment["PYTHONPATH"]
    app.start()
    shown = len(app.lines("stopped"))
    until(lambda: len(app.lines("stopped")) > shown + 5, "its log", DEADLINE_S)
    app.stop("stopped")
    assert not alive(trees[0])
    assert "is gone" not in app.errors, "its shim saw it to the end"
    app.kill()
    os.kill(trees[1][0], signal.SIGSEGV)
    until(lambda: app.record(crashed).ended_at_s is not None, "the exit on record", DEADLINE_S)
    assert app.record(crashed).exit_code == -signal.SIGSEGV
    assert (app.paths.records / crashed / "shim.err").read_text() == ""
    app.start()
    assert "SIGSEGV" in app.entry("crashed")["error"]["message"]


@contextlib.contextmanager
def recorded_shim(app: RealApplication, version: int) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """With the port of its engine, which lives."""
    port = free_port()
    for folder in (app.paths.state, app.paths.runtime):
        folder.mkdir(mode=0o700)
    arguments = (app.paths.state, app.paths.runtime, FIRST_RECORD, version, port)
    command = [sys.executable, str(RECORDED_SHIM), *map(str, arguments)]
    environment = {**os.environ, "LAUNCHDECK_HOME": str(app.home)}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment)
    assert process.stdout is not None
    assert process.stdout.readline() == b"listening\n"
    until(lambda: answers(port), "the engine", DEADLINE_S)
    try:
        yield process, port
    finally:
        process.kill()
        process.communicate()


def launchdeck_command(app: RealApplication, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "launchdeck", *arguments]
    environment = {**os.environ, "LAUNCHDECK_HOME": str(app.home)}
    return subprocess.run(command, env=environment, check=False, capture_output=True, text=True)


def test_a_shim_of_the_first_version_is_adopted_and_stopped() -> None:
    with application() as app, recorded_shim(app, 1) as (shim, port):
        app.start(WITHOUT_WINDOW)
        entry = app.until_state("smol", "running")
        assert (entry["port"], entry["api_key"], entry["context_length"]) == (port, "key-of-then", 256)
        assert app.lines("smol") == ["first line"]
        app.stop("smol")
        assert shim.wait(DEADLINE_S) == 0
        assert not answers(port)


def test_a_shim_of_a_newer_version_is_left_alone_and_told() -> None:
    with application() as app, recorded_shim(app, RECORD_VERSION + 1) as (shim, port):
        record = next(app.paths.records.glob("*/record.json"))
        written = record.read_bytes()
        app.start(WITHOUT_WINDOW)
        assert app.entries() == []
        assert "newer version of Launchdeck" in app.errors
        app.running("ours")
        app.terminate()
        assert launchdeck_command(app, "stop", "--all").returncode == 0
        assert shim.poll() is None
        assert answers(port)
        assert record.read_bytes() == written
        end_all(app.home)


def test_a_shim_that_speaks_a_newer_protocol_is_left_alone_and_told() -> None:
    """Its record can be read all the same."""
    with application() as app, recorded_shim(app, 2) as (shim, port):
        record = next(app.paths.records.glob("*/record.json"))
        record.write_text(json.dumps(json.loads(record.read_bytes()) | {"version": 1}))
        app.start(WITHOUT_WINDOW)
        assert app.entries() == []
        assert "A newer version of Launchdeck started smol" in app.errors
        app.kill()
        assert "smol" in launchdeck_command(app, "status").stdout
        refused = launchdeck_command(app, "stop", "smol")
        assert refused.returncode == 1
        assert "newer version" in refused.stderr
        assert shim.poll() is None
        assert answers(port)
        end_all(app.home)


@pytest.mark.usefixtures("qapp")
def test_the_window_says_which_models_it_leaves_alone(launchdeck_home: Path) -> None:
    record = launchdeck_home / "state" / "deployments" / "a" / "record.json"
    record.parent.mkdir(parents=True)
    record.write_text(json.dumps({"version": RECORD_VERSION + 1}))

    async def journey(window: WindowApplication, _core: Core) -> None:
        await until_async(lambda: str(record) in window.window.notice.text, "the notice")

    in_real_window(journey, quick_settings())
