"""How commands print: a JSON document for programs, a table for people."""

from __future__ import annotations

import json
import sys
import unicodedata
from collections.abc import Sequence
from typing import Any


def print_json(document: Any) -> None:
    """One JSON document on standard output, and nothing else."""
    json.dump(document, sys.stdout, indent=2, ensure_ascii=False)
    sys.stdout.write("\n")


def print_line(text: object = "") -> None:
    sys.stdout.write(f"{text}\n")


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]], *, right: frozenset[int] = frozenset()) -> None:
    """Columns as wide as their widest cell; those in `right` are aligned to the right."""
    lines = [header, *rows]
    widths = [max(_columns(line[column]) for line in lines) for column in range(len(header))]
    for line in lines:
        spaces = [" " * (width - _columns(cell)) for cell, width in zip(line, widths, strict=True)]
        cells = [f"{spaces[at]}{cell}" if at in right else f"{cell}{spaces[at]}" for at, cell in enumerate(line)]
        print_line("  ".join(cells).rstrip())


def _columns(text: str) -> int:
    """How many columns of a terminal the text takes: Hangul takes two a letter."""
    return sum(2 if unicodedata.east_asian_width(letter) in {"W", "F"} else 1 for letter in text)
