"""How commands print their tables and documents."""

from __future__ import annotations

import logging
import os
import subprocess
import sys

import pytest

from launchdeck.commands.output import LogFormatter
from launchdeck.commands.table import print_table

HEADER = ("GPU", "Name", "Use", "Power", "Fan")
ROWS = [("0", "NVIDIA GeForce RTX 4090", "43 %", "210 / 450 W", "38 %"), ("1", "라데온 RX 7900 XTX", "7 %", "9 W", "-")]


@pytest.fixture
def table(monkeypatch, capsys):
    """The lines of the table in a terminal of that width; None: into a file."""

    def lines(width: int | None, rows=ROWS) -> list[str]:
        monkeypatch.setattr(sys.stdout, "isatty", lambda: width is not None)
        monkeypatch.setenv("COLUMNS", str(width))
        print_table(HEADER, rows, right=frozenset({2, 3, 4}), elastic=1, optional=(4, 3))
        return capsys.readouterr().out.splitlines()

    return lines


def test_a_message_passes_for_no_line_of_the_log_and_moves_no_cursor() -> None:
    record = logging.LogRecord("x", logging.WARNING, "", 0, "%s is\x1b[31m odd", ("a\n2026 ERROR y: b",), None)
    lines = LogFormatter("%(levelname)s %(message)s").format(record).split("\n")
    assert lines == ["WARNING a", "    2026 ERROR y: b is\ufffd[31m odd"]


def columns(text: str) -> int:
    return len(text.encode("euc-kr"))  # which has two bytes for Hangul, and one for a Latin letter


@pytest.mark.parametrize("width", [None, 54, 100])
def test_with_room_everything_is_there(table, width):
    assert table(width) == [
        "GPU  Name                      Use        Power   Fan",
        "0    NVIDIA GeForce RTX 4090  43 %  210 / 450 W  38 %",
        "1    라데온 RX 7900 XTX        7 %          9 W     -",
    ]


def test_a_narrow_terminal_shortens_the_name_first(table):
    assert table(48) == [
        "GPU  Name                 Use        Power   Fan",
        "0    NVIDIA GeForce RT…  43 %  210 / 450 W  38 %",
        "1    라데온 RX 7900 XTX   7 %          9 W     -",
    ]


@pytest.mark.parametrize(("width", "header"), [(42, ["GPU", "Name", "Use", "Power"]), (30, ["GPU", "Name", "Use"])])
def test_a_narrower_one_leaves_out_what_matters_least(table, width, header):
    lines = table(width)
    assert lines[0].split() == header
    assert max(map(columns, lines)) <= width


def test_no_name_moves_the_cursor(table):
    _, line, _ = table(None, [("0", "RTX\x1b[2J\n4090", "1 %", "-", "-"), ROWS[1]])
    assert "RTX\ufffd[2J\ufffd4090" in line


def test_hangul_in_parts_is_as_wide_as_in_one(table):
    whole, parts = (
        table(None, [("0", name, "1 %", "-", "-"), ROWS[0]])[1]
        for name in ("한국", "\u1112\u1161\u11ab\u1100\u116e\u11a8")
    )
    assert whole == parts


NOISY = """
import os, sys
from launchdeck.commands.output import print_json, stray_output_on_stderr
with stray_output_on_stderr():
    os.write(1, b"from a library\\n")
    os.system("echo from a child")
    print("from a module")
    print_json({"이름": "값"})
print("after")
"""


def test_a_document_is_alone_on_standard_output():
    environment = os.environ | {"PYTHONIOENCODING": "utf-8"}
    run = [sys.executable, "-c", NOISY]
    result = subprocess.run(run, env=environment, capture_output=True, encoding="utf-8", timeout=60, check=True)
    assert result.stdout == '{\n  "이름": "값"\n}\nafter\n'
    assert result.stderr == "from a library\nfrom a child\nfrom a module\n"
