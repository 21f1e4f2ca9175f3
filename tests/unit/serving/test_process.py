"""QProcess as the launcher's parent: the real launcher, under asyncio's own loop."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PySide6.QtCore import QCoreApplication

from fakes.serving import Watch, spec_of
from launchdeck.domain.errors import Cause, LaunchdeckError
from launchdeck.serving.launcher import read_answer
from launchdeck.serving.process import QtShimLauncher, _Launch
from launchdeck.serving.shim.processes import is_alive
from launchdeck.serving.shim_client import ShimClient

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def launcher(qapp: QCoreApplication) -> Iterator[QtShimLauncher]:
    launcher = QtShimLauncher()
    yield launcher
    launcher.close()


def test_a_model_survives_the_end_of_its_launcher(launcher: QtShimLauncher) -> None:
    async def scenario() -> None:
        path = await launcher.launch(spec_of("--no-listen"))
        launcher.close()
        watch = Watch(await ShimClient.connect(path))
        assert is_alive(tuple((await watch.fresh_status())["engine"]))
        await watch.stop()

    asyncio.run(scenario())


def test_many_at_once(launcher: QtShimLauncher) -> None:
    async def scenario() -> None:
        specs = [spec_of("--no-listen") for _ in range(5)]
        paths = await asyncio.gather(*(launcher.launch(spec) for spec in specs))
        assert [str(path) for path in paths] == [spec["socket"] for spec in specs]
        for path in paths:
            await Watch(await ShimClient.connect(path)).stop()

    asyncio.run(scenario())


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_fault_21_a_launch_that_found_the_disk_full_says_what_to_do(code: int) -> None:
    told = json.dumps({"error": str(OSError(code, os.strerror(code), "/records/record.json"))})
    with pytest.raises(LaunchdeckError) as failed:
        read_answer(1, told.encode(), b"")
    assert failed.value.failure.cause is Cause.DISK_FULL
    assert "Free some space" in str(failed.value.failure.advice)


def test_a_launch_that_fails_says_why(launcher: QtShimLauncher, launchdeck_home: Path) -> None:
    spec = spec_of("--no-listen")
    Path(spec["folder"]).parent.mkdir(parents=True)
    Path(spec["folder"]).touch()
    with pytest.raises(LaunchdeckError, match=r"supervisor could not be started: .*File exists"):
        asyncio.run(launcher.launch(spec))


HOST = """
import asyncio, json, sys
from PySide6.QtCore import QCoreApplication
from launchdeck.serving.process import QtShimLauncher, _Launch
app = QCoreApplication([])
launcher = QtShimLauncher()
print(asyncio.run(launcher.launch(json.load(sys.stdin))), flush=True)
asyncio.run(asyncio.sleep(60))
"""


def test_a_model_survives_ctrl_c_on_the_whole_group_of_the_application() -> None:
    import json

    spec = spec_of("--no-listen")
    host = subprocess.Popen(
        [sys.executable, "-c", HOST],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True, text=True,
    )  # fmt: skip
    host.stdin.write(json.dumps(spec))
    host.stdin.close()
    assert host.stdout.readline().strip() == spec["socket"]
    os.killpg(host.pid, signal.SIGINT)
    host.wait(15)
    host.stdout.close()

    async def look() -> None:
        watch = Watch(await ShimClient.connect(Path(spec["socket"])))
        assert is_alive(tuple((await watch.fresh_status())["engine"]))
        await watch.stop()

    asyncio.run(look())


def test_nothing_is_connected_with_a_launch_when_it_is_deleted(
    launcher: QtShimLauncher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Qt would disconnect it under a lock, in a thread that has to wait for the interpreter there."""
    connected: list[int] = []
    delete_later = _Launch.deleteLater

    def deleting(launch: _Launch) -> None:
        signals = ("2errorOccurred(QProcess::ProcessError)", "2finished(int,QProcess::ExitStatus)")
        connected.extend(launch._process.receivers(signal) for signal in signals)
        delete_later(launch)

    monkeypatch.setattr(_Launch, "deleteLater", deleting)

    async def scenario() -> None:
        path = await launcher.launch(spec_of("--no-listen"))
        await Watch(await ShimClient.connect(path)).stop()
        launcher.close()  # its thread has done what was to be done

    asyncio.run(scenario())
    assert connected == [0, 0]
