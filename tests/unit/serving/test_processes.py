from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

from fakes.serving import until
from launchdeck.serving.shim.processes import boot_id, descendants, identify, is_alive, read_stat, send_signal

if TYPE_CHECKING:
    from launchdeck.serving.shim.processes import Process

SLEEP = [sys.executable, "-I", "-S", "-c", "import time; time.sleep(60)"]


def started(command: list[str]) -> tuple[subprocess.Popen[bytes], Process]:
    child = subprocess.Popen(command, start_new_session=True)
    process = identify(child.pid)
    assert process is not None
    return child, process


def test_a_process_is_its_pid_and_its_start_time() -> None:
    child, process = started(SLEEP)
    assert is_alive(process)
    assert not is_alive((process[0], process[1] - 1))
    assert send_signal(process, signal.SIGKILL)
    child.wait()
    assert not is_alive(process)
    assert not send_signal(process, signal.SIGKILL)


def test_another_process_with_the_same_pid_is_left_alone() -> None:
    child, process = started(SLEEP)
    impostor_of = (process[0], process[1] - 1)
    assert not send_signal(impostor_of, signal.SIGKILL)
    assert is_alive(process)
    child.kill()
    child.wait()


def test_a_zombie_is_not_alive() -> None:
    child, process = started([sys.executable, "-I", "-S", "-c", ""])
    until(lambda: identify(child.pid) is None)
    assert read_stat(child.pid) is not None
    assert not is_alive(process)
    child.wait()


def test_descendants_do_not_hold_the_ancestor() -> None:
    assert os.getpid() not in [pid for pid, _ in descendants({os.getpid()})]


def test_the_boot_has_a_name() -> None:
    assert len(boot_id()) == 36
