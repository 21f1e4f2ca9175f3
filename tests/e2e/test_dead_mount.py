"""A folder of models whose server is gone: commands, `serve` and the window do without it, and say so."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from fakes.dead_mount import DeadMount
from fakes.gguf_models import llama
from fakes.serving import until

pytestmark = pytest.mark.timeout(200)

PROGRAM = Path(__file__).with_name("dead_mount_window.py")
LAUNCHDECK = (sys.executable, "-m", "launchdeck")
DEADLINE_S = 90.0


@pytest.fixture
def well(launchdeck_home: Path) -> Path:
    """A folder that answers, with a link to one that does not."""
    folder = launchdeck_home / "well"
    folder.mkdir()
    llama().write(folder / "well.gguf")
    (folder / "link").symlink_to(launchdeck_home / "dead" / "below")
    return folder


@pytest.fixture
def dead(launchdeck_home: Path, dead_mount_library: Path, well: Path) -> DeadMount:
    """The folder comes first in the settings."""
    mount = launchdeck_home / "dead"
    (mount / "below").mkdir(parents=True)
    llama().write(mount / "below" / "back.gguf")
    (launchdeck_home / "config").mkdir()
    settings = f'model_folders = ["{mount}", "{well}"]\n'
    (launchdeck_home / "config" / "settings.toml").write_text(settings, encoding="utf-8")
    return DeadMount(dead_mount_library, mount)


def run(dead: DeadMount, *command: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        list(map(str, command)), capture_output=True, text=True, timeout=DEADLINE_S, check=False,
        env=os.environ | dead.environment,
    )  # fmt: skip


def test_the_commands_list_the_others_and_name_it(dead: DeadMount, well: Path) -> None:
    result = run(dead, *LAUNCHDECK, "models", "--json")
    assert result.returncode == 0
    names = [model["name"] for model in json.loads(result.stdout)["models"]]
    assert "well" in names
    assert "back" not in names
    assert f"{dead.mount} does not answer" in result.stderr
    assert f"{well / 'link'} does not answer" in result.stderr


def test_an_engine_there_costs_no_other(dead: DeadMount, launchdeck_home: Path, well: Path) -> None:
    """Neither one that the settings name, nor a folder of PATH, nor a virtual environment of vLLM's."""
    settings = f'llama_server_path = "{dead.mount}/llama-server"\nvllm_path = "{dead.mount}/venv"\n'
    (launchdeck_home / "config" / "settings.toml").write_text(settings, encoding="utf-8")
    path = {"PATH": f"{dead.mount}/bin:{os.environ['PATH']}"}
    result = subprocess.run(
        [*LAUNCHDECK, "plan", str(well / "well.gguf"), "--json"], capture_output=True, text=True, timeout=DEADLINE_S,
        check=False, env=os.environ | dead.environment | path,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert "launchdeck.engines.embedded_server" in json.loads(result.stdout)["argv"]
    assert f"{dead.mount}/llama-server does not answer" in result.stderr
    assert f"{dead.mount}/bin does not answer" in result.stderr


@pytest.mark.parametrize(
    "arguments", [("models", "."), ("plan", "below/back.gguf"), ("plan", "below/back.gguf", "--serve", "llm")]
)
def test_what_is_named_and_does_not_answer_is_a_failure(dead: DeadMount, arguments: tuple[str, ...]) -> None:
    command, place, *options = arguments
    result = run(dead, *LAUNCHDECK, command, dead.mount / place, *options)
    assert result.returncode == 1
    assert "does not answer." in result.stderr.splitlines()[-1]
    assert "Traceback" not in result.stderr


def test_serve_answers_and_ends(dead: DeadMount, well: Path, launchdeck_home: Path) -> None:
    process = subprocess.Popen([*LAUNCHDECK, "serve", "--api-port", "0"], env=os.environ | dead.environment)
    try:
        address = launchdeck_home / "runtime" / "api-url"
        until(address.exists, "the interface", DEADLINE_S)
        token = (launchdeck_home / "runtime" / "api-token").read_text().strip()
        with httpx.Client(
            base_url=address.read_text(), headers={"Authorization": f"Bearer {token}"}, timeout=DEADLINE_S
        ) as http:
            listed = http.get("/api/management/models").json()["models"]
            assert {"well"} <= {model["name"] for model in listed}
            for door in ("plan", "load"):
                refused = http.post(
                    f"/api/inference/{door}", json={"model_path": str(dead.mount / "below" / "back.gguf")}
                )
                assert refused.status_code == 422
                assert "does not answer" in refused.json()["detail"]
            planned = http.post("/api/inference/plan", json={"model_path": str(well / "well.gguf"), "gpu_index": None})
            assert planned.status_code == 200, planned.text
            begin_s = time.monotonic()
            listed = http.get("/api/management/models").json()["models"]
            assert time.monotonic() - begin_s < 4.0  # it is not waited for again
        process.terminate()
        assert process.wait(5 * 5) == 0
    finally:
        process.kill()
        process.wait()


def test_the_window_goes_on_and_lists_what_is_back(dead: DeadMount, well: Path) -> None:
    result = run(dead, sys.executable, PROGRAM, well)
    ended_at_s = time.time()
    assert result.returncode == 0, result.stderr
    report = json.loads(result.stdout)
    print(report)
    assert "back" not in report["listed"]
    assert f"{dead.mount} does not answer." in report["notice"]
    assert report["longest_pause_s"] < 5 * 0.5
    assert ended_at_s - report["left_at_s"] < 5 * 5
