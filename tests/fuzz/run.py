"""Damages the files of one subject again and again and reads them: run by test_read_back.py, confined.

Arguments: a folder, the subject's name, how many inputs, the seed. Says how many inputs were read, and how long the
slowest took; ends with 1 and names the first ten inputs that were not borne.
"""

from __future__ import annotations

import json
import logging
import resource
import shutil
import signal
import sys
import time
import traceback
import warnings
from pathlib import Path
from random import Random
from typing import Any

from fakes.mutations import ANYTHING, broken, damaged
from fuzz.places import put_in_place, take_away
from fuzz.subjects import Subject, subjects

LIMIT_S = 2.0
MOST_TOLD = 10
MOST_MEMORY_BYTES = 4 << 30


class Hang(BaseException):
    """Reading took too long; no handler of exceptions may swallow it."""


def main(folder: Path, name: str, count: int, seed: int) -> int:
    warnings.simplefilter("error")
    logging.basicConfig(level=logging.CRITICAL)
    resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY_BYTES, MOST_MEMORY_BYTES))
    sentinel = folder / "sentinel"
    (sentinel / "below").mkdir(parents=True)
    (sentinel / "below" / "work").write_text("years of it")
    (sentinel / "record.json").write_text("{}")
    subject = next(subject for subject in subjects(folder) if subject.name == name)
    signal.signal(signal.SIGALRM, _hang)
    chance = Random(seed)
    before, slowest_s, failures = _tree(sentinel), 0.0, 0
    if not subject.is_consumed:
        subject.prepare()
    for number in range(count):
        began_s = time.monotonic()
        told = _read(subject, chance, sentinel)
        slowest_s = max(slowest_s, time.monotonic() - began_s)
        if _tree(sentinel) != before:
            told = "the sentinel was touched"
        if told:
            failures += 1
            if failures <= MOST_TOLD:
                print(f"input {number}: {told}", file=sys.stderr)
    print(json.dumps({"inputs": count, "slowest_s": round(slowest_s, 3), "failures": failures}))
    return 1 if failures else 0


def _read(subject: Subject, chance: Random, sentinel: Path) -> str:
    """What went wrong; nothing if all was well."""
    _clear(subject)
    subject.file.parent.mkdir(parents=True, exist_ok=True)
    _damage(subject, chance, sentinel)
    seen = _shown(subject.file)
    if subject.is_consumed:
        take_away(subject.file.parents[1] / "00000001")
        subject.prepare()
    signal.setitimer(signal.ITIMER_REAL, LIMIT_S)
    try:
        subject.read()
    except (Exception, Hang):  # noqa: BLE001 (that is what is looked for)
        return f"{seen}\n{traceback.format_exc(limit=-6)}"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return ""


def _damage(subject: Subject, chance: Random, sentinel: Path) -> None:
    if chance.random() < 0.06:
        put_in_place(subject.file, chance, sentinel)
    elif isinstance(subject.valid, bytes):
        subject.file.write_bytes(damaged(subject.valid, chance))
    else:
        ways = (str(sentinel), f"{sentinel}/below", f"../../../{sentinel.name}")
        subject.file.write_bytes(broken(subject.valid, chance, (*ANYTHING, *ways)))


def _clear(subject: Subject) -> None:
    for place in (subject.file, *subject.file.parent.glob(f"{subject.file.name}.*")):
        take_away(place)


def _shown(file: Path) -> str:
    if file.is_symlink() or not file.is_file():
        return f"{file.name} is a {'link' if file.is_symlink() else 'folder or pipe'}"
    try:
        return repr(file.read_bytes()[:600])
    except OSError as error:
        return str(error)


def _hang(*_: Any) -> None:
    raise Hang


def _tree(folder: Path) -> list[tuple[str, str | None]]:
    return sorted((str(path), path.read_text() if path.is_file() else None) for path in folder.rglob("*"))


if __name__ == "__main__":
    place, subject_name, wanted, start = sys.argv[1:]
    status = main(Path(place), subject_name, int(wanted), int(start))
    shutil.rmtree(Path(place) / "launchdeck", ignore_errors=True)
    sys.exit(status)
