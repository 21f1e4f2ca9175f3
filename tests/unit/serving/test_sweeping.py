"""What has lost its supervisor is found and killed, and nobody else."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from fakes.serving import until
from launchdeck.serving.shim.mark import VALUE, new_value, variables
from launchdeck.serving.shim.processes import all_stats, descendants, identify, is_alive
from launchdeck.serving.sweeping import Mark, sweep

if TYPE_CHECKING:
    from launchdeck.serving.shim.processes import Process

ID = "0000abcd"
SLEEP = [sys.executable, "-I", "-S", "-c", "import time; time.sleep(60)"]
PARENT_CODE = f"""
import subprocess, sys, time
subprocess.Popen({SLEEP}, start_new_session=len(sys.argv) > 1)
time.sleep(60)
"""
PARENT = [sys.executable, "-I", "-c", PARENT_CODE]


@pytest.fixture
def value() -> Iterator[str]:
    """The value of a mark. What carries it is gone at the end."""
    value = new_value()
    yield value
    sweep([], 10, mark=Mark(ID, value, since=0))


def started(command: list[str], env: dict[str, str] | None = None) -> tuple[subprocess.Popen[bytes], Process]:
    child = subprocess.Popen(command, start_new_session=True, env=os.environ | (env or {}))
    process = identify(child.pid)
    assert process is not None
    return child, process


def orphan(env: dict[str, str]) -> Process:
    """A process that has lost its parent and has a session of its own."""
    code = (
        "import subprocess, sys; "
        f"print(subprocess.Popen({SLEEP}, start_new_session=True, stdout=subprocess.DEVNULL).pid)"
    )
    command = [sys.executable, "-I", "-c", code]
    told = subprocess.run(command, env=os.environ | env, stdout=subprocess.PIPE, check=True)
    process = identify(int(told.stdout))
    assert process is not None
    return process


def test_a_sweep_takes_children_in_and_out_of_the_session() -> None:
    for command in (PARENT, [*PARENT, "own session"]):
        child, process = started(command)
        until(lambda pid=child.pid: len(descendants({pid})) == 1)
        (worker,) = descendants({child.pid})
        assert sweep([process], 10) == []
        child.wait()
        assert not is_alive(worker)


def test_a_sweep_finds_orphans_by_their_session() -> None:
    child, process = started(PARENT)
    until(lambda: len(descendants({child.pid})) == 1)
    (worker,) = descendants({child.pid})
    child.kill()
    child.wait()
    assert is_alive(worker)
    assert sweep([process], 10, frozenset({process[0]})) == []
    assert not is_alive(worker)


def test_a_sweep_spares_another_process_with_the_same_pid() -> None:
    child, process = started(SLEEP)
    assert sweep([(process[0], process[1] - 1)], 5) == []
    assert is_alive(process)
    child.kill()
    child.wait()


def test_a_sweep_finds_an_orphan_by_its_mark(value: str) -> None:
    first, second = (orphan(variables(ID, value)) for _ in range(2))
    assert sweep([], 10, mark=Mark(ID, value, since=first[1])) == []
    assert not is_alive(first)
    assert not is_alive(second)


@pytest.mark.parametrize("other", ["value", "id", "value alone", "id alone", "part of the value", "older"])
def test_a_sweep_spares_what_carries_another_mark(value: str, other: str) -> None:
    carried, mark_since = variables(ID, value), 0
    match other:
        case "value":
            carried = variables(ID, new_value())
        case "id":
            carried = variables("0000abce", value)
        case "value alone":
            carried.pop("LAUNCHDECK_DEPLOYMENT")
        case "id alone":
            carried.pop("LAUNCHDECK_MARK")
        case "part of the value":
            carried["LAUNCHDECK_MARK"] += "0"
    child, process = started(SLEEP, carried)
    if other == "older":
        mark_since = process[1] + 1
    assert sweep([], 10, mark=Mark(ID, value, since=mark_since)) == []
    assert is_alive(process)
    child.kill()
    child.wait()


def test_a_sweep_takes_what_shares_the_session_of_a_marked_one(value: str) -> None:
    """vLLM's processes write over their environment; they stay in the session of those that do not."""
    code = (
        "import subprocess, sys, time\n"
        f"blank = subprocess.Popen({SLEEP}, env={{}}, stdout=subprocess.DEVNULL)\n"
        "print(blank.pid, flush=True)\n"
        f"subprocess.Popen({SLEEP}, stdout=subprocess.DEVNULL)\n"
    )
    child = subprocess.run(
        [sys.executable, "-I", "-c", code],
        env=os.environ | variables(ID, value),
        start_new_session=True,
        stdout=subprocess.PIPE,
        check=True,
    )
    blank = identify(int(child.stdout))
    assert blank is not None
    assert not Mark(ID, value, since=0).is_on(blank)
    assert sweep([], 10, mark=Mark(ID, value, since=0)) == []
    assert not is_alive(blank)


def test_a_sweep_takes_what_a_marked_one_started_in_another_session(value: str) -> None:
    code = f"import subprocess, time; subprocess.Popen({SLEEP}, env={{}}, start_new_session=True); time.sleep(60)"
    child, process = started([sys.executable, "-I", "-c", code], variables(ID, value))
    until(lambda: len(descendants({process[0]})) == 1)
    (blank,) = descendants({process[0]})
    assert sweep([], 10, mark=Mark(ID, value, since=0)) == []
    child.wait()
    assert not is_alive(blank)


def test_a_sweep_takes_what_is_born_while_it_looks(value: str) -> None:
    """One process starts the next and ends, again and again, each in a session of its own."""
    code = (
        "import os, subprocess, sys, time; time.sleep(0.01); "
        "subprocess.Popen([sys.executable, '-I', '-S', '-c', os.environ['CODE']], start_new_session=True)"
    )
    started([sys.executable, "-I", "-S", "-c", code], variables(ID, value) | {"CODE": code})[0].wait()
    mark = Mark(ID, value, since=0)
    assert sweep([], 20, mark=mark) == []
    until(lambda: not [stat for stat in all_stats() if mark.is_on(stat.process)])


def test_the_sweeper_spares_itself(value: str) -> None:
    """Launchdeck may have been started from within a model."""
    code = (
        "from launchdeck.serving.sweeping import Mark, sweep\n"
        f"assert sweep([], 5, mark=Mark({ID!r}, {value!r}, since=0)) == []\n"
    )
    env = os.environ | variables(ID, value) | {"PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", code], env=env, check=True, start_new_session=True)


def test_no_value_is_given_twice_and_none_is_shown() -> None:
    values = {new_value() for _ in range(100)}
    assert len(values) == 100
    assert all(VALUE.fullmatch(value) for value in values)
    assert not any(value in repr(Mark(ID, value, since=0)) for value in values)
