"""Tables for people, as wide as the terminal at most."""

from __future__ import annotations

import shutil
import sys
import unicodedata
from collections.abc import Sequence
from typing import Final

from launchdeck.commands.output import print_line, shown

_BETWEEN: Final = "  "
_READABLE: Final = 16  # columns that an elastic column keeps


def print_table(
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    right: frozenset[int] = frozenset(),
    elastic: int | None = None,
    optional: Sequence[int] = (),
) -> None:
    """Columns as wide as their widest cell; those in `right` are aligned to the right.

    In a terminal that is too narrow the column `elastic` is shortened, as far as it stays readable, and the columns
    `optional` are left out, the first one first.
    """
    lines = [[shown(unicodedata.normalize("NFC", cell)) for cell in line] for line in (header, *rows)]
    widths = [max(_columns(line[column]) for line in lines) for column in range(len(header))]
    columns = list(range(len(header)))
    left_over = list(optional)
    while elastic is not None and (excess := _excess(widths, columns)) > 0:
        widths[elastic] = max(widths[elastic] - excess, min(widths[elastic], _READABLE))
        if _excess(widths, columns) <= 0 or not left_over:
            break
        columns.remove(left_over.pop(0))
    for line in lines:
        cells = [_aligned(_elided(line[at], widths[at]), widths[at], right=at in right) for at in columns]
        print_line(_BETWEEN.join(cells).rstrip())


def _excess(widths: Sequence[int], columns: Sequence[int]) -> int:
    """By how many columns the table is wider than the terminal; a file or a pipe has room for everything."""
    if not sys.stdout.isatty():
        return 0
    needed = sum(widths[at] for at in columns) + len(_BETWEEN) * (len(columns) - 1)
    return needed - shutil.get_terminal_size().columns


def _aligned(text: str, width: int, *, right: bool) -> str:
    spaces = " " * (width - _columns(text))
    return spaces + text if right else text + spaces


def _elided(text: str, width: int) -> str:
    if _columns(text) <= width:
        return text
    while _columns(text) > width - 1:
        text = text[:-1]
    return f"{text.rstrip()}…"


def _columns(text: str) -> int:
    """How many columns of a terminal the text takes: Hangul takes two a letter, an accent none."""
    return sum(_letter_columns(letter) for letter in text)


def _letter_columns(letter: str) -> int:
    if unicodedata.category(letter) in {"Mn", "Me", "Cf"}:
        return 0
    return 2 if unicodedata.east_asian_width(letter) in {"W", "F"} else 1
