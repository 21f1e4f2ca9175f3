"""The end of a process: soon in any case, in order where that can be, and with a word about what held it up."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import launchdeck
from launchdeck.ending import Ending
from launchdeck.workers import Workers

DEADLINE_S = 25.0
BEGINNING = """
import asyncio, logging, os, signal, sys, threading, time
from launchdeck.ending import Ending
from launchdeck.workers import Workers
logging.basicConfig(format="%(levelname)s %(message)s")
for_ever = threading.Event()

def hang_in_a_call():
    for_ever.wait()

ending = Ending(1.5)
ending.listen()
ending.at_last.append(lambda: print("last words", flush=True))
"""


def run(program: str, *numbers: signal.Signals, pause_s: float = 0.2) -> tuple[int, str, str, float]:
    """Its status, what it said, and how many seconds it lived after the first signal; it says "ready" first."""
    environment = os.environ | {"PYTHONPATH": str(Path(launchdeck.__file__).parents[1])}
    process = subprocess.Popen(
        [sys.executable, "-c", BEGINNING + program],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    began_s = time.monotonic()
    for number in numbers:
        process.send_signal(number)
        time.sleep(pause_s)
    output, errors = process.communicate(timeout=DEADLINE_S)
    return process.returncode, output, errors, time.monotonic() - began_s


def test_a_main_thread_that_hangs_is_left_with_a_word_about_where_it_stands() -> None:
    status, output, errors, _ = run("print('ready', flush=True); hang_in_a_call()", signal.SIGTERM)
    assert (status, output) == (1, "last words\n")
    assert "Did not end in order within 1.5 s" in errors
    assert "MainThread" in errors
    assert "hang_in_a_call" in errors


LOOP = """
async def main():
    asked = asyncio.Event()
    asyncio.get_running_loop().set_default_executor(Workers())
    ending.call(asked.set)
    print("ready", flush=True)
    await asked.wait()
    {then}
    ending.done(0)

asyncio.run(main())
print("the end")
"""


def test_an_orderly_end_has_no_last_words() -> None:
    assert run(LOOP.format(then="pass"), signal.SIGHUP)[:3] == (0, "the end\n", "")


def test_worker_threads_that_hang_are_left_behind() -> None:
    calls = "[asyncio.ensure_future(asyncio.to_thread(hang_in_a_call)) for _ in range(3)]; await asyncio.sleep(0.05)"
    status, output, errors, took_s = run(LOOP.format(then=calls), signal.SIGINT)
    assert (status, output, errors) == (0, "the end\n", "")
    assert took_s < DEADLINE_S


def test_a_thread_that_is_waited_for_at_the_very_end_is_told_of_and_left_with_the_status_that_was_earned() -> None:
    calls = "threading.Thread(target=hang_in_a_call, name='stubborn').start()"
    status, output, errors, _ = run(LOOP.format(then=calls), signal.SIGTERM)
    assert status == 0
    assert "Ended without waiting any longer" in errors
    assert "stubborn" in errors
    assert "last words" not in output


def test_a_log_that_hangs_holds_up_nothing() -> None:
    program = """
class Stuck(logging.Handler):
    def emit(self, record):
        for_ever.wait()
logging.getLogger().addHandler(Stuck())
print("ready", flush=True)
hang_in_a_call()
"""
    assert run(program, signal.SIGTERM)[0] == 1


def test_a_call_that_lets_no_other_thread_run_is_ended_by_the_system() -> None:
    """At the interpreter's own end, no thread of ours runs any more."""
    program = "import atexit, ctypes; libc = ctypes.PyDLL(None); atexit.register(libc.sleep, 60)\n"
    status, _, _, took_s = run(program + LOOP.format(then="pass"), signal.SIGTERM)
    assert status == -signal.SIGALRM
    assert took_s < DEADLINE_S


def test_the_clock_stands_still_while_models_are_stopped() -> None:
    stopping = """
    with ending.patient():
        await asyncio.sleep(3)
"""
    assert run(LOOP.format(then=stopping), signal.SIGTERM, signal.SIGTERM)[:3] == (0, "the end\n", "")


def test_a_signal_that_came_before_the_loop_is_heard_by_it() -> None:
    assert run("print('ready', flush=True); time.sleep(0.3)\n" + LOOP.replace('print("ready", flush=True)', "pass").format(then="pass"), signal.SIGTERM)[:2] == (0, "the end\n")  # noqa: E501 # fmt: skip


def test_closed_it_leaves_the_signals_as_they_were_and_forces_no_end() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    ending = Ending(0.01)
    ending.listen()
    assert not ending.is_asked()
    ending.close()
    ending.begin()
    time.sleep(0.1)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == before
    assert [thread for thread in threading.enumerate() if thread.name == "ending"] == []


def test_workers_give_what_their_calls_give_or_raise() -> None:
    async def work() -> None:
        asyncio.get_running_loop().set_default_executor(Workers())
        assert await asyncio.gather(*(asyncio.to_thread(pow, 2, n) for n in range(200))) == [2**n for n in range(200)]
        with pytest.raises(ZeroDivisionError):
            await asyncio.to_thread(divmod, 1, 0)

    asyncio.run(work())


def test_after_the_end_there_is_no_work() -> None:
    workers = Workers()
    done = workers.submit(lambda: 1)
    assert done.result(DEADLINE_S) == 1
    workers.shutdown()
    with pytest.raises(RuntimeError):
        workers.submit(lambda: 2)
