"""Models outlive the window, whether it is killed or quit; and the window can be started and quit at will."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest
from PySide6.QtWidgets import QApplication

from e2e.window import assert_gone, click, current, in_real_window, quick_settings, until
from launchdeck.core import Core
from launchdeck.domain.deployment import State
from launchdeck.ui.application import WindowApplication

pytestmark = [pytest.mark.timeout(400), pytest.mark.usefixtures("qapp")]

HOST = Path(__file__).with_name("host.py")
STARTS = 50
START_AND_QUIT = """
import argparse
from launchdeck.compose import run_window
raise SystemExit(run_window(argparse.Namespace(), on_painted=lambda: print("painted", flush=True)))
"""


@dataclass(frozen=True)
class Served:
    """A model that was deployed by another process."""

    id: str
    url: str
    key: str

    def answers(self) -> bool:
        body = {"messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 4}
        headers = {"Authorization": f"Bearer {self.key}"}
        return httpx.post(f"{self.url}/chat/completions", json=body, headers=headers, timeout=60).status_code == 200


@contextmanager
def host(model: Path, then: str) -> Iterator[tuple[subprocess.Popen[str], Served]]:
    process = subprocess.Popen([sys.executable, str(HOST), str(model), then], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process, Served(*process.stdout.readline().split())
    finally:
        process.kill()
        process.communicate()


def show_and_stop(served: Served) -> None:
    """The next start shows it as running, with its log, and stops it."""

    async def journey(application: WindowApplication, core: Core) -> None:
        await until(lambda: [d.id for d in core.manager.deployments] == [served.id], "the deployment in the list")
        await until(lambda: current(core, served.id).state is State.RUNNING, "running")
        running = current(core, served.id)
        assert running.adopted
        assert running.applied.n_ctx == 512
        assert core.manager.api_key(served.id) == served.key
        assert any("listening on" in line for line in core.manager.log(served.id).lines_since(0)[1])
        application.panels.deployments.stop_requested.emit(served.id)
        await until(lambda: current(core, served.id).state is State.STOPPED, "stopped")
        assert_gone(running)

    in_real_window(journey, quick_settings())


def test_fault_01_a_model_answers_on_when_the_window_is_killed(demo_model: Path) -> None:
    with host(demo_model, "wait") as (process, served):
        process.send_signal(signal.SIGKILL)
        process.wait(10)
        assert served.answers()
    show_and_stop(served)


def test_a_model_answers_on_after_quit_with_keep_serving(demo_model: Path) -> None:
    with host(demo_model, "Keep serving") as (process, served):
        assert process.wait(30) == 0
        assert served.answers()
    show_and_stop(served)


def test_quit_with_stop_all_leaves_nothing(demo_model: Path) -> None:
    with host(demo_model, "Stop all") as (process, served):
        assert process.wait(30) == 0
        with pytest.raises(httpx.ConnectError):
            served.answers()


def test_closing_the_question_is_no_answer(demo_model: Path) -> None:
    async def journey(application: WindowApplication, core: Core) -> None:
        from launchdeck.domain.request import CPU_ONLY, ModelLoadRequest
        from launchdeck.ui.window.quit_dialog import QuitDialog

        deployment = await core.manager.load(ModelLoadRequest(model_path=demo_model, gpu_uuids=CPU_ONLY, n_ctx=512))
        application.ask_to_quit()
        (question,) = [w for w in QApplication.topLevelWidgets() if isinstance(w, QuitDialog) and w.isVisible()]
        click(question, "Cancel")
        await until(lambda: current(core, deployment.id).state is State.RUNNING, "running on")
        assert application.window.isVisible()

    in_real_window(journey, quick_settings())


def command_of(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:  # it has just ended
        return ""


def test_start_and_quit_fifty_times(launchdeck_home: Path) -> None:
    chance = random.Random(50)
    for _ in range(STARTS):
        process = subprocess.Popen(
            [sys.executable, "-c", START_AND_QUIT], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "painted\n"
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(chance.uniform(0.02, 0.8))  # a quit may come at any stage of the start
        process.terminate()
        _, errors = process.communicate(timeout=30)
        assert (process.returncode, errors) == (0, "")
    ours = str(launchdeck_home)
    assert [process.pid for process in psutil.process_iter() if ours in command_of(process)] == []
