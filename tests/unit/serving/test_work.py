"""Work is seen by what the kernel counts, whoever of a tree does it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from fakes.serving import until
from launchdeck.serving.health.work import BUSY_READ_BYTES_A_S, WorkMeter, spent_by

IDLE = "input()"
WORK = {
    "compute": "while True: pass",
    "read": "import time\nwhile True: open('/dev/zero', 'rb').read(1 << 20); time.sleep(0.05)",
}


@pytest.fixture
def children() -> Iterator[list[subprocess.Popen[bytes]]]:
    started: list[subprocess.Popen[bytes]] = []
    yield started
    for child in started:
        child.kill()
        child.communicate()


def start(children: list[subprocess.Popen[bytes]], code: str) -> int:
    children.append(subprocess.Popen([sys.executable, "-I", "-S", "-c", code], stdin=subprocess.PIPE))
    return children[-1].pid


def look_again(meter: WorkMeter, pids: list[int]) -> bool:
    until(lambda: meter.is_due)
    return meter.is_at_work(pids)


@pytest.mark.parametrize("kind", WORK)
def test_work_of_any_process_is_seen(children: list[subprocess.Popen[bytes]], kind: str) -> None:
    idle, busy = start(children, IDLE), start(children, WORK[kind])
    meter = WorkMeter()
    until(lambda: not look_again(meter, [idle]))
    assert look_again(meter, [idle, busy])
    assert look_again(meter, [idle, busy])
    children[-1].kill()
    children[-1].wait()
    assert not look_again(meter, [idle, busy])


def test_a_new_process_has_done_all_it_did(children: list[subprocess.Popen[bytes]]) -> None:
    code = f"open('/dev/zero', 'rb').read({20 * BUSY_READ_BYTES_A_S}); input()"
    late = start(children, code)
    until(lambda: spent_by(late).read_bytes >= 20 * BUSY_READ_BYTES_A_S)
    meter = WorkMeter()
    assert not look_again(meter, [])
    assert look_again(meter, [late])
    assert not look_again(meter, [late])


def test_waiting_with_a_short_sleep_is_no_work(children: list[subprocess.Popen[bytes]]) -> None:
    waiting = start(children, "import time\nwhile True: time.sleep(0.05)")
    meter = WorkMeter()
    until(lambda: not look_again(meter, [waiting]))
    assert not any(look_again(meter, [waiting]) for _ in range(3))


def test_a_process_that_is_gone_does_nothing(children: list[subprocess.Popen[bytes]]) -> None:
    pid = start(children, IDLE)
    children[-1].kill()
    children[-1].wait()
    assert spent_by(pid) == (0.0, 0)
    assert not WorkMeter().is_at_work([pid])
