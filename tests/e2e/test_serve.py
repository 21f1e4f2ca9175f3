"""Without a window: `launchdeck serve`, the commands that speak to it, a real model; and the change of guard."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from fakes.serving import end_all, free_ports, processes_of, until
from launchdeck.api.address import own_hand_socket
from launchdeck.settings.paths import Paths

pytestmark = pytest.mark.timeout(300)
COMMAND = [sys.executable, "-m", "launchdeck"]
DEADLINE_S = 60.0


@pytest.fixture(autouse=True)
def home(launchdeck_home: Path) -> Iterator[Path]:
    """Ports of the test's own; whatever it starts is gone at its end."""
    ports = free_ports(20)
    (launchdeck_home / "config").mkdir()
    settings = f'first_port = {ports.start}\nlast_port = {ports.stop - 1}\nlanguage = "en"\non_quit = "keep"\n'
    (launchdeck_home / "config" / "settings.toml").write_text(settings, encoding="utf-8")
    yield launchdeck_home
    left = processes_of(launchdeck_home)
    end_all(launchdeck_home)
    assert left == []


def launchdeck(*arguments: object, expect: int = 0) -> str:
    result = subprocess.run([*COMMAND, *map(str, arguments)], capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == expect, result.stdout + result.stderr
    assert "Traceback" not in result.stderr
    return result.stdout if expect == 0 else result.stderr


def document(*arguments: object) -> Any:
    return json.loads(launchdeck(*arguments, "--json"))


@contextlib.contextmanager
def started(*arguments: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """A process of the application; asked to end when nobody did."""
    process = subprocess.Popen(
        [*COMMAND, *arguments, "--api-port", "0"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **environment},
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
        process.communicate(timeout=DEADLINE_S)


def until_open(home: Path, process: subprocess.Popen[str]) -> str:
    """The address, as soon as somebody answers there."""
    address = home / "runtime" / "api-url"

    def answers() -> bool:
        assert process.poll() is None, process.communicate()
        with contextlib.suppress(OSError, httpx.HTTPError):
            return httpx.get(address.read_text() + "/ping").status_code == 204
        return False

    until(answers, "the interface", DEADLINE_S)
    return address.read_text()


def deploy(model: Path, name: str) -> dict[str, Any]:
    options = ("--gpu", "cpu", "--ctx", 512, "--backend", "llama", "--name", name)
    return dict(document("deploy", model, *options))


def test_serve_deploy_status_logs_and_stop(home: Path, demo_model: Path) -> None:
    with started("serve") as serve:
        until_open(home, serve)
        assert document("status") == {"models": []}
        entry = deploy(demo_model, "smol")
        assert (entry["state"], entry["context_length"]) == ("running", 512)
        answer = httpx.post(
            entry["url"] + "/chat/completions",
            headers={"Authorization": f"Bearer {entry['api_key']}"},
            json={"messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 4},
            timeout=DEADLINE_S,
        )
        assert answer.status_code == 200
        (shown,) = document("status")["models"]
        assert (shown["id"], shown["api_key"]) == (entry["id"], entry["api_key"])
        assert "smol" in launchdeck("status")
        assert launchdeck("status", "--names") == "smol\n"
        assert "llama" in launchdeck("logs", "smol", "-n", 200)
        assert len(document("logs", entry["id"], "-n", 3)["lines"]) == 3
        assert "running" in watch_once()
        assert document("stop", "smol") == {"stopped": ["smol"]}
        assert document("status") == {"models": []}
        assert "nobody" in launchdeck("logs", "nobody", expect=1)
        serve.send_signal(signal.SIGTERM)
        _, errors = serve.communicate(timeout=DEADLINE_S)
        assert serve.returncode == 0
        assert "smol" in errors
        assert "Traceback" not in errors
    assert not (home / "runtime" / "api-url").exists()


def watch_once() -> str:
    """The first document of `status --watch`."""
    watching = subprocess.Popen([*COMMAND, "status", "--watch", "--json"], stdout=subprocess.PIPE, text=True)
    assert watching.stdout is not None
    line = watching.stdout.readline()
    watching.send_signal(signal.SIGINT)
    watching.communicate(timeout=DEADLINE_S)
    return line


def test_models_outlive_serve_and_the_commands_go_straight_to_their_shims(home: Path, demo_model: Path) -> None:
    with started("serve") as serve:
        until_open(home, serve)
        entry = deploy(demo_model, "smol")
        serve.send_signal(signal.SIGTERM)
        serve.communicate(timeout=DEADLINE_S)
    (shown,) = document("status")["models"]
    assert (shown["state"], shown["id"], shown["api_key"]) == ("running", entry["id"], entry["api_key"])
    assert shown["applied"] == entry["applied"]
    assert shown["measured"]["rss_bytes"] > 0
    following = subprocess.Popen([*COMMAND, "logs", "smol", "--follow"], stdout=subprocess.PIPE, text=True)
    time.sleep(1)
    assert document("stop", "--all") == {"stopped": ["smol"]}
    output, _ = following.communicate(timeout=DEADLINE_S)
    assert following.returncode == 0
    assert "llama" in output


def test_watching_goes_on_when_the_application_dies_and_ends_with_ctrl_c(home: Path, demo_model: Path) -> None:
    with started("serve") as serve:
        until_open(home, serve)
        watching = subprocess.Popen([*COMMAND, "status", "--watch", "--json"], stdout=subprocess.PIPE, text=True)
        assert watching.stdout is not None
        assert json.loads(watching.stdout.readline()) == {"models": []}
        entry = deploy(demo_model, "smol")
        serve.kill()
        serve.communicate(timeout=DEADLINE_S)
    document("stop", "--all")
    shown = [json.loads(line)["models"] for line in iter(watching.stdout.readline, '{"models": []}\n')]
    assert {one["id"] for models in shown for one in models} == {entry["id"]}
    assert shown[-1][0]["state"] in {"running", "stopping"}
    watching.send_signal(signal.SIGINT)
    watching.communicate(timeout=DEADLINE_S)
    assert watching.returncode == 0


def test_serve_ends_with_the_reason_where_it_cannot_serve(home: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        assert f"port {port}" in launchdeck("serve", "--api-port", port, expect=1)
    settings = home / "config" / "settings.toml"
    settings.write_text(settings.read_text() + "api_enabled = false\n")
    assert "switched off" in launchdeck("serve", expect=1)
    assert list((home / "runtime").iterdir()) == []


@pytest.mark.parametrize("name", ["api-token", "api-url"])
def test_serve_says_what_lies_in_the_place_of_its_address(home: Path, name: str) -> None:
    (home / "runtime" / name / "something").mkdir(parents=True)
    told = launchdeck("serve", "--api-port", 0, expect=1)
    assert str(home / "runtime" / name) in told
    assert "Remove what lies there" in told


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_the_end_of_its_terminal_ends_serve_in_order(home: Path, number: signal.Signals) -> None:
    with started("serve", NOTIFY_SOCKET=str(home / "nobody-listens")) as serve:
        until_open(home, serve)
        serve.send_signal(number)
        _, errors = serve.communicate(timeout=DEADLINE_S)
    assert serve.returncode == 0, errors
    assert "was not told" in errors
    assert "Traceback" not in errors
    assert not (home / "runtime" / "api-url").exists()


def test_a_hang_up_is_ignored_where_it_is_to_be(home: Path) -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        with started("serve") as serve:
            until_open(home, serve)
            serve.send_signal(signal.SIGHUP)
            time.sleep(0.5)
            assert serve.poll() is None
    finally:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)


def test_deploy_says_how_to_start_one_where_none_runs(demo_model: Path) -> None:
    errors = launchdeck("deploy", demo_model, expect=1)
    assert "launchdeck serve &" in errors


def test_a_deploy_that_cannot_be_carried_out_ends_with_the_words_of_the_application(
    home: Path, demo_model: Path, tmp_path: Path
) -> None:
    with started("serve") as serve:
        until_open(home, serve)
        assert "8192" in launchdeck("deploy", demo_model, "--ctx", 99999, expect=1)
        for name in ("GPU-nobody", "7F:00.0", "1,7f:00.0"):
            assert f"There is no GPU {name.split(',')[0]}: this machine has no GPU." in launchdeck(
                "deploy", demo_model, "--gpu", name, expect=1
            )
        outside = tmp_path / "outside.gguf"
        outside.symlink_to(demo_model.with_name("nothing-here"))
        copied = tmp_path / "copied.gguf"
        copied.write_bytes(demo_model.read_bytes())
        assert document("deploy", copied, "--gpu", "cpu", "--ctx", 512)["state"] == "running"
        assert document("stop", "--all")["stopped"]
        later = document("deploy", demo_model, "--gpu", "cpu", "--ctx", 512, "--no-wait")
        assert later["status"] == "loading"
        assert "already" in launchdeck("serve", expect=1)
        assert document("stop", "--all") == {"stopped": [later["model_id"]]}, "it is just being started"
        assert document("status") == {"models": []}


def test_stop_and_logs_know_what_status_lists(home: Path, demo_model: Path) -> None:
    """Also a model whose launch failed before there was anything on disk."""
    with started("serve") as serve:
        until_open(home, serve)
        (home / "state" / "deployments").write_text("a file where the folder should be")
        launchdeck("deploy", demo_model, "--gpu", "cpu", "--ctx", 512, "--name", "smol", expect=1)
        (shown,) = document("status")["models"]
        assert (shown["model_id"], shown["state"]) == ("smol", "failed")
        assert document("logs", "smol")["lines"] == []
        assert document("stop", "--all") == {"stopped": []}, "it does not run"
        assert launchdeck("stop", "smol") == "Removed: smol, which ran no more.\n"
        assert document("status") == {"models": []}
        assert "smol" in launchdeck("stop", "smol", expect=1)


def test_what_failed_is_removed_where_no_application_runs(home: Path, demo_model: Path) -> None:
    with started("serve") as serve:
        until_open(home, serve)
        entry = deploy(demo_model, "smol")
        serve.kill()
        serve.communicate(timeout=DEADLINE_S)
    record = json.loads((home / "state" / "deployments" / entry["id"] / "record.json").read_text())
    for pid, _ in (record["shim"], *record["tree"]):
        os.kill(pid, signal.SIGKILL)
    until(lambda: document("status")["models"][0]["state"] == "failed", "the model to have failed", DEADLINE_S)
    assert document("stop", "smol") == {"stopped": [], "removed": ["smol"]}
    assert not (home / "state" / "deployments" / entry["id"]).exists()


def test_folders_with_long_names_are_as_good_as_others(home: Path, demo_model: Path, monkeypatch) -> None:
    """A socket's address has room for 107 bytes: those of the supervisors lie elsewhere then, and that is told."""
    root = home / ("managed-hosting-" + "f" * 60) / ("tenant-" + "0" * 60)
    (root / "config").mkdir(parents=True)
    (home / "config" / "settings.toml").rename(root / "config" / "settings.toml")
    monkeypatch.setenv("LAUNCHDECK_HOME", str(root))
    paths = Paths.resolve()
    try:
        with started("serve") as serve:
            until_open(root, serve)
            entry = deploy(demo_model, "smol")
            assert {socket.name for socket in paths.sockets.iterdir()} == {
                f"{entry['id']}.sock",
                own_hand_socket(paths).name,
            }
            assert stat.S_IMODE(paths.sockets.stat().st_mode) == 0o700
            serve.send_signal(signal.SIGTERM)
            _, errors = serve.communicate(timeout=DEADLINE_S)
            assert f"lie in {paths.sockets}" in errors
        with started("serve") as serve:
            until_open(root, serve)
            assert document("status")["models"][0]["id"] == entry["id"]
            assert document("logs", "smol", "-n", 3)["lines"] != []
            assert document("stop", "smol") == {"stopped": ["smol"]}
        assert list(paths.sockets.iterdir()) == []
    finally:
        end_all(root)
        shutil.rmtree(paths.sockets, ignore_errors=True)


def test_readiness_is_told_to_the_service_manager(home: Path, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(DEADLINE_S)
        with started("serve", NOTIFY_SOCKET=str(tmp_path / "notify")) as serve:
            assert manager.recv(4096).startswith(b"READY=1\nSTATUS=http://127.0.0.1:")
            until_open(home, serve)
            serve.send_signal(signal.SIGTERM)
            assert manager.recv(4096) == b"STOPPING=1"


def test_a_window_takes_over_from_serve_and_a_second_one_shows_the_first(home: Path, demo_model: Path) -> None:
    with started("serve") as serve:
        address = until_open(home, serve)
        entry = deploy(demo_model, "smol")
        with started() as window:
            _, errors = serve.communicate(timeout=DEADLINE_S)
            assert serve.returncode == 0
            assert "a window takes over" in errors
            until((home / "runtime" / "api-url").exists, "the window's interface", DEADLINE_S)
            assert until_open(home, window) != address
            (shown,) = document("status")["models"]
            assert (shown["id"], shown["state"]) == (entry["id"], "running")
            assert shown["api_key"] == entry["api_key"]
            assert "brought to the front" in launchdeck("--api-port", "0")
            assert window.poll() is None
            document("stop", "smol")
            window.terminate()
            _, errors = window.communicate(timeout=DEADLINE_S)
            assert (window.returncode, errors.replace("This plugin does not support raise()\n", "")) == (0, "")
