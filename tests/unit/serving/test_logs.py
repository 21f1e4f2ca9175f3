from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launchdeck.serving.logs import MAX_CHARACTERS, MAX_LINE_CHARACTERS, MAX_LINES, LogBuffer


def fed(*chunks: bytes) -> LogBuffer:
    buffer = LogBuffer()
    for chunk in chunks:
        buffer.feed(chunk)
    return buffer


@pytest.mark.parametrize(
    ("chunks", "lines"),
    [
        ([b"one\ntwo\n"], ["one", "two"]),
        ([b"on", b"e\ntwo"], ["one"]),
        ([b"one\r\ntwo\r\n"], ["one", "two"]),
        ([b"one\r", b"\ntwo\n"], ["one", "two"]),
        ([b"\n\n"], ["", ""]),
        ([b" 10 %\r 20 %\r100 %\n"], ["100 %"]),
        ([b"50 %\r", b"done\n"], ["done"]),
        ([b"50 %\r\r\n"], ["50 %"]),
        ([b"\x1b[1;32mgreen\x1b[0m\n"], ["green"]),
        ([b"\x1b[", b"31mred\x1b", b"[0m\n"], ["red"]),
        ([b"\x1b]0;title\x07text\n"], ["text"]),
        ([b"a\x00b\x08c\td\n"], ["abc\td"]),
        (["한".encode()[:1], "한".encode()[1:] + b"\n"], ["한"]),
        ([b"\xff\xfe\n"], ["��"]),
    ],
)
def test_bytes_become_lines(chunks: list[bytes], lines: list[str]) -> None:
    assert fed(*chunks).lines_since(0) == (len(lines), lines)


def test_feed_gives_what_a_return_replaced_as_well() -> None:
    buffer = LogBuffer()
    assert buffer.feed(b"10 %\r20 %\r") == ["10 %", "20 %"]
    assert buffer.feed(b"30 %\n") == ["30 %"]
    assert buffer.lines_since(0) == (1, ["30 %"])


def test_the_open_line_is_seen_too() -> None:
    buffer = fed(b"one\ntw")
    assert buffer.partial == "tw"
    assert buffer.tail(5) == ["one", "tw"]
    assert fed(b"one\ntwo\n").tail(1) == ["two"]


def test_a_long_line_is_cut_and_said() -> None:
    buffer = LogBuffer()
    for _ in range(200):
        buffer.feed(b"x" * 1024 * 1024)
    buffer.feed(b"\n")
    (line,) = buffer.lines_since(0)[1]
    assert line == "x" * MAX_LINE_CHARACTERS + f" [{200 * 1024 * 1024 - MAX_LINE_CHARACTERS} characters cut]"


def test_the_buffer_is_bounded_and_its_numbers_go_on() -> None:
    buffer = LogBuffer()
    count = 3 * MAX_LINES
    buffer.feed(b"".join(b"%d\n" % number for number in range(count)))
    sequence, lines = buffer.lines_since(0)
    assert sequence == count
    assert lines == [str(number) for number in range(count - MAX_LINES, count)]
    assert buffer.lines_since(count) == (count, [])
    assert buffer.lines_since(count - 2) == (count, [str(count - 2), str(count - 1)])
    assert buffer.lines_since(count + 5) == (count, [])


def test_the_buffer_is_bounded_in_characters_too() -> None:
    buffer = LogBuffer()
    for _ in range(MAX_LINES):
        buffer.feed(b"x" * MAX_LINE_CHARACTERS + b"\n")
    assert sum(map(len, buffer.lines_since(0)[1])) <= MAX_CHARACTERS


def test_what_was_dropped_is_said_and_ends_the_open_line() -> None:
    buffer = fed(b"one\ntw")
    buffer.note_dropped(500)
    buffer.feed(b"three\n")
    assert buffer.lines_since(0)[1] == ["one", "[500 bytes dropped]", "three"]


@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=6))
def test_it_does_not_matter_where_the_stream_is_cut(data: bytes, cuts: list[int]) -> None:
    bounds = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    pieces = [data[a:b] for a, b in pairwise(bounds)]
    assert fed(*pieces).lines_since(0) == fed(data).lines_since(0)
