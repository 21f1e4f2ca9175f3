"""Looks that may never come back: given up, remembered, and asked again once they have."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from launchdeck.files.apart import NoAnswerError, call_apart, looking_at, run_apart, still_looking

PATIENCE_S = 0.2
SOON_S = 10.0


class Place:
    """Something to look at that does not answer until it is let."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.answers = threading.Event()
        self.after: list[str] = []

    def look(self) -> str:
        looking_at(self.path)
        self.answers.wait()
        looking_at(self.path / "next")  # a thread that was given up ends here
        self.after.append("went on")
        return "found"


def eventually(path: Path) -> None:
    """Until it is known that this answers again."""
    deadline_s = time.monotonic() + SOON_S
    while True:
        try:
            return looking_at(path)
        except NoAnswerError:
            assert time.monotonic() < deadline_s
            time.sleep(0.01)


def test_gives_what_the_call_gives_and_raises_what_it_raises() -> None:
    assert call_apart(lambda: 7, PATIENCE_S) == 7
    with pytest.raises(ZeroDivisionError):
        call_apart(lambda: 1 / 0, PATIENCE_S)
    assert asyncio.run(run_apart(lambda: 7)) == 7
    with pytest.raises(ZeroDivisionError):
        asyncio.run(run_apart(lambda: 1 / 0, PATIENCE_S))


def test_what_does_not_answer_is_named_and_asked_by_nobody_until_it_does(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    place = Place(tmp_path / "dead")
    with pytest.raises(NoAnswerError, match="does not answer") as told:
        call_apart(place.look, PATIENCE_S)
    assert told.value.place == str(place.path)
    assert [record.getMessage() for record in caplog.records] == [
        f"{place.path} does not answer; it is left out until it does"
    ]
    with pytest.raises(NoAnswerError) as at_once:
        looking_at(place.path / "deep" / "below")
    assert at_once.value.place == str(place.path)
    looking_at(tmp_path / "deadly")  # a name that only begins like it
    place.answers.set()
    eventually(place.path)
    assert call_apart(place.look, PATIENCE_S) == "found"
    assert place.after == ["went on"]  # the one that was given up has ended before


def test_a_look_that_gets_ahead_may_take_its_time(tmp_path: Path) -> None:
    def long() -> int:
        for _ in range(10):
            time.sleep(PATIENCE_S / 4)
            still_looking()
        return 10

    assert call_apart(long, PATIENCE_S) == 10


def test_of_two_silent_places_each_answers_for_itself(tmp_path: Path) -> None:
    first, second = Place(tmp_path / "a" / "1"), Place(tmp_path / "a" / "2")
    for place in (first, second):
        with pytest.raises(NoAnswerError):
            call_apart(place.look, PATIENCE_S)
    looking_at(tmp_path / "a" / "3")
    second.answers.set()
    eventually(second.path)
    with pytest.raises(NoAnswerError):
        looking_at(first.path)
    first.answers.set()
    eventually(first.path)


def test_a_coroutine_goes_on_meanwhile(tmp_path: Path) -> None:
    place = Place(tmp_path / "dead")

    async def main() -> int:
        asked = asyncio.ensure_future(run_apart(place.look, PATIENCE_S))
        turns = 0
        while not asked.done():
            await asyncio.sleep(0.01)
            turns += 1
        with pytest.raises(NoAnswerError):
            await asked
        return turns

    assert asyncio.run(main()) > 3
    place.answers.set()
    eventually(place.path)


def test_a_process_ends_though_a_look_never_comes_back() -> None:
    script = (
        "import asyncio, threading\n"
        "from launchdeck.files.apart import run_apart\n"
        "async def main():\n"
        "    task = asyncio.ensure_future(run_apart(threading.Event().wait))\n"
        "    await asyncio.sleep(0.1)\n"
        "asyncio.run(main())\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=30)
