"""The log of a deployment as lines for people and adapters: bounded, whatever bytes an engine writes."""

from __future__ import annotations

import codecs
import re
from collections import deque
from itertools import islice
from typing import Final

MAX_LINES: Final = 10_000
MAX_CHARACTERS: Final = 8_000_000
MAX_LINE_CHARACTERS: Final = 4096

_ENDS = re.compile(r"\r\n|\r|\n")
_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\^_])")
_CONTROL = {code: None for code in range(32) if chr(code) != "\t"} | {127: None}


class LogBuffer:
    """The newest lines, each with a number that only grows.

    A carriage return replaces the line, as a progress bar means it; colours and control characters are taken out;
    bytes that are no UTF-8 become the replacement character; a long line is cut and says by how much.
    """

    def __init__(self) -> None:
        self._lines: deque[str] = deque()
        self._characters = 0
        self._next_sequence = 0
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._open = ""  # of the line that has not ended
        self._open_cut = 0
        self._after_return = False

    def feed(self, data: bytes) -> list[str]:
        """Take what an engine wrote. Gives every text that ended here, also those that a carriage return replaced."""
        text = self._decoder.decode(data)
        ended: list[str] = []
        start = 0
        for end in _ENDS.finditer(text):
            self._extend(text[start : end.start()])
            start = end.end()
            self._end_line(end.group(), ended)
        self._extend(text[start:])
        return ended

    def _extend(self, piece: str) -> None:
        if not piece:
            return
        if self._after_return:  # what came before the carriage return is replaced now
            self._after_return = False
            self._open, self._open_cut = "", 0
        room = MAX_LINE_CHARACTERS - len(self._open)
        self._open += piece[:room]
        self._open_cut += max(0, len(piece) - room)

    def _end_line(self, end: str, ended: list[str]) -> None:
        line = self.partial
        if not self._after_return:
            ended.append(line)
        if end == "\r":
            self._after_return = True
            return
        self._append(line)
        self._open, self._open_cut, self._after_return = "", 0, False

    @property
    def partial(self) -> str:
        """The last line as far as it was written."""
        line = self._open
        if not line.isprintable():  # most lines are, and most of the time goes here
            line = _ANSI.sub("", line).translate(_CONTROL)
        return f"{line} [{self._open_cut} characters cut]" if self._open_cut else line

    def note_dropped(self, size_bytes: int) -> None:
        """Say that the engine wrote more than could be kept up with."""
        self._append(f"[{size_bytes} bytes dropped]")
        self._decoder.reset()
        self._open, self._open_cut, self._after_return = "", 0, False

    def _append(self, line: str) -> None:
        self._lines.append(line)
        self._characters += len(line)
        self._next_sequence += 1
        while len(self._lines) > MAX_LINES or self._characters > MAX_CHARACTERS:
            self._characters -= len(self._lines.popleft())

    def lines_since(self, sequence: int) -> tuple[int, list[str]]:
        """The lines from number `sequence` on that are still held, and the number to ask for next time."""
        count = min(self._next_sequence - sequence, len(self._lines))
        return self._next_sequence, list(islice(self._lines, len(self._lines) - max(count, 0), None))

    def tail(self, count: int) -> list[str]:
        """The last lines, with the unfinished one."""
        lines = [*islice(self._lines, max(0, len(self._lines) - count), None)]
        return [*lines, self.partial][-count:] if self.partial else lines
