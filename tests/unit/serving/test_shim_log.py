from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from launchdeck.serving.shim.log import LogWriter, read_log, segments
from launchdeck.serving.shim.redaction import Redactor

LIMIT = 4 * 1024 * 1024
HEAD = 1024 * 1024


def everything(folder: Path) -> list[tuple[int, bytes]]:
    """All that is on disk, as (offset, bytes) without gaps in between."""
    found: list[tuple[int, bytes]] = []
    offset = 0
    while True:
        start, data = read_log(str(folder), offset, 1 << 30)
        if not data:
            return found
        found.append((start, data))
        offset = start + len(data)


def test_what_fits_is_kept_as_it_is(tmp_path: Path) -> None:
    log = LogWriter(str(tmp_path), LIMIT)
    log.write(b"one\n")
    log.write(b"two\n")
    log.close()
    assert everything(tmp_path) == [(0, b"one\ntwo\n")]


def test_the_head_stays_and_the_tail_rotates(tmp_path: Path) -> None:
    log = LogWriter(str(tmp_path), LIMIT)
    block = bytes(range(256)) * 256
    total = 0
    while total < 5 * LIMIT:
        log.write(block)
        total += len(block)
        assert sum(size for _, size in segments(str(tmp_path))) <= LIMIT
    stream = block * (total // len(block))
    parts = everything(tmp_path)
    assert parts[0] == (0, stream[:HEAD])
    for offset, data in parts:
        assert data == stream[offset : offset + len(data)]
    assert parts[-1][0] + len(parts[-1][1]) == total == log.end
    assert sum(len(data) for _, data in parts) > LIMIT // 2


def test_the_newest_bytes_are_read_from_memory_and_the_older_from_disk(tmp_path: Path) -> None:
    log = LogWriter(str(tmp_path), LIMIT)
    stream = os.urandom(HEAD)
    log.write(stream)
    read, offset = b"", 0
    while offset < log.end:
        start, data = log.read(offset, 50_000)
        assert start == offset
        read += data
        offset += len(data)
    assert read == stream


def test_a_smallest_limit_is_kept_too(tmp_path: Path) -> None:
    log = LogWriter(str(tmp_path), HEAD)
    for _ in range(40):
        log.write(b"x" * 100_000)
    assert sum(size for _, size in segments(str(tmp_path))) <= HEAD


FULL_DISK = """
import resource, signal, sys, time
from launchdeck.serving.shim import log as shim_log
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
log = shim_log.LogWriter(sys.argv[1], 4 << 20)
log.write(b"before")
resource.setrlimit(resource.RLIMIT_FSIZE, (8, resource.RLIM_INFINITY))
log.write(b"lost" * 10)
assert log.error is not None
assert log.read(6, 100) == (6, b"lost" * 10), "still told to who follows"
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
time.sleep(shim_log.RETRY_S)
log.write(b"after")
assert log.error is None
"""


def test_a_disk_that_takes_no_more_costs_only_what_was_written_meanwhile(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", FULL_DISK, str(tmp_path)], check=True, timeout=60)
    assert everything(tmp_path) == [(0, b"beforelo"), (46, b"after")]


@given(st.lists(st.text("abc", min_size=8, max_size=12), max_size=3), st.data())
@settings(max_examples=200, deadline=None)
def test_a_secret_is_taken_out_wherever_the_stream_is_cut(words: list[str], data: st.DataObject) -> None:
    text = data.draw(st.lists(st.sampled_from([*words, "a", "ab", "c", "\n"]), max_size=20).map("".join)).encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=5)))
    redactor = Redactor(words)
    pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    shown = b"".join(map(redactor.feed, pieces)) + redactor.flush()
    assert not any(word.encode() in shown for word in words)
    if not any(word.encode() in text for word in words):
        assert shown == text


def test_what_is_too_short_for_a_secret_is_left_alone() -> None:
    redactor = Redactor(["a", ""])
    assert redactor.feed(b"banana") == b"banana"
