"""Where the window was: kept over a restart, read from what Qt wrote, and no file of any kind costs the window."""

from __future__ import annotations

import logging
import os
import random
import struct
import time
from typing import TYPE_CHECKING

import pytest
from PySide6.QtCore import QByteArray, QSettings
from PySide6.QtWidgets import QSplitter, QTabWidget

from fakes import mutations
from launchdeck.ui.charts.charts import Charts
from launchdeck.ui.deploy.deploy_form import DeployForm
from launchdeck.ui.deployments.deployments_view import DeploymentsView
from launchdeck.ui.gpus.gpu_cards import GpuCards
from launchdeck.ui.window.main_window import SMALLEST, USUAL, MainWindow, Panels
from launchdeck.ui.window.window_memory import LIMIT_BYTES, MOST_PIXELS, WindowMemory

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MUTATIONS = 1000
WINDOWS = 40
DEADLINE_S = 2.0
NAMES = ("window", "columns", "centre")
PIECES = (*mutations.PIECES, *(b"%02x" % byte for byte in range(256)))


@pytest.fixture
def opened(qtbot) -> Callable[[Path], MainWindow]:
    """The real window, with what this file remembers."""

    def open_window(path: Path) -> MainWindow:
        panels = Panels(GpuCards(), Charts(5.0), DeploymentsView(), QTabWidget(), DeployForm(lambda _: None))
        window = MainWindow(panels, WindowMemory(path))
        qtbot.addWidget(window, before_close_func=lambda window: window.close_for_good())
        return window

    return open_window


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "window.ini"


def use(path: Path) -> tuple[object, ...]:
    """What a window would ask of the file."""
    memory = WindowMemory(path)
    return memory.geometry("window"), memory.sizes("columns", 3), memory.sizes("centre", 3)


def saved_sizes(*splitters: QSplitter) -> list[list[int]]:
    """As Qt saves them: what was wanted, also where there is no room for it."""
    return [list(struct.unpack_from(">3i", splitter.saveState().data(), 12)) for splitter in splitters]


def test_a_window_is_where_it_was(opened, path):
    window = opened(path)
    window.show()
    window._columns.setSizes([200, 450, 310])
    window._centre.setSizes([300, 150, 250])
    place, sizes = window.saveGeometry().data(), saved_sizes(window._columns, window._centre)
    window.close_for_good()
    memory = WindowMemory(path)
    assert memory.geometry("window") == place
    assert [memory.sizes("columns", 3), memory.sizes("centre", 3)] == sizes
    again = opened(path)
    again.show()
    charts, deployments, tabs = again._centre.sizes()
    assert charts > tabs > deployments, "on a smaller screen there is less of all, in the same order"


def test_what_an_earlier_version_had_qt_write_is_understood_and_the_other_way_round(opened, path, tmp_path):
    window = opened(tmp_path / "other.ini")
    window.show()
    written = QSettings(str(path), QSettings.Format.IniFormat)
    states = window.saveGeometry().data(), window._columns.saveState().data(), window._centre.saveState().data()
    for name, state in zip(NAMES, states, strict=True):
        written.setValue(name, QByteArray(state))
    written.sync()
    memory = WindowMemory(path)
    assert memory.geometry("window") == states[0]
    assert [memory.sizes("columns", 3)] == saved_sizes(window._columns)
    memory.write(dict(zip(NAMES, states, strict=True)))
    read = QSettings(str(path), QSettings.Format.IniFormat)
    assert tuple(read.value(name).data() for name in NAMES) == states


def test_every_byte_that_qt_writes_is_read(path):
    written = QSettings(str(path), QSettings.Format.IniFormat)
    every = bytes(range(256)) + bytes(reversed(range(256)))
    written.setValue("columns", QByteArray(every))
    written.sync()
    assert WindowMemory(path)._values == {"columns": every}


@pytest.mark.parametrize(
    "value",
    [
        b"42",
        b'"a text"',
        b"@Variant(\\0\\0\\0\\x7f)",
        b"@Point(1 2)",
        b"@ByteArray()",
        b"@ByteArray(\\x1\\xd9\\xd0\\xcb\\0\\x3)",
        b"@ByteArray(\\xfff)",
        b"@ByteArray(\\q)",
        b"@Invalid()",
    ],
)
def test_a_value_that_cannot_be_used_costs_itself_alone(opened, path, caplog, value):
    sizes = struct.pack(">iiI3i", 0xFF, 1, 3, 100, 200, 300)
    path.write_bytes(b"[General]\nwindow=" + value + b"\n")
    with path.open("ab") as file:
        file.write(b"columns=@ByteArray(%s)\n" % b"".join(b"\\x%02x" % byte for byte in sizes))
    with caplog.at_level(logging.WARNING):
        window = opened(path)
    assert (window.width(), window.height()) == USUAL
    assert WindowMemory(path).sizes("columns", 3) == [100, 200, 300]
    assert "'window' in" in caplog.text
    assert path.exists()


@pytest.mark.parametrize("content", [b"\0" * 100, b"\xff\xfe" * 50, b"no ini at all", b"#" * (LIMIT_BYTES + 1)])
def test_what_is_no_such_file_is_kept_and_told(opened, path, caplog, content):
    path.write_bytes(content)
    with caplog.at_level(logging.WARNING):
        window = opened(path)
    assert (path.parent / "window.ini.corrupt").read_bytes() == content
    assert "window.ini.corrupt" in caplog.text
    window.close_for_good()
    assert WindowMemory(path).geometry("window") is not None


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo], ids=["folder", "pipe"])
def test_what_is_no_file_is_told_and_is_not_in_the_way_for_long(opened, path, caplog, make):
    make(path)
    with caplog.at_level(logging.WARNING):
        window = opened(path)
        assert "cannot be read" in caplog.text
        window.close_for_good()
    assert not (path.parent / "window.ini.corrupt").is_file()
    assert (path.parent / "window.ini.corrupt").exists()
    assert WindowMemory(path).geometry("window") is not None


def test_a_file_that_cannot_be_read_is_never_written_over(path, caplog, monkeypatch):
    """Root may read and rename everything: the disk says no in its place."""
    path.write_bytes(b"[General]\n")
    refusal = PermissionError(13, "Permission denied")
    with monkeypatch.context() as disk, caplog.at_level(logging.WARNING):
        disk.setattr("os.open", lambda *_: (_ for _ in ()).throw(refusal))
        disk.setattr("pathlib.Path.replace", lambda *_: (_ for _ in ()).throw(refusal))
        memory = WindowMemory(path)
        memory.write({"window": b"new"})
    assert path.read_bytes() == b"[General]\n"
    assert "could not be read" in caplog.text


def geometry(*rectangle: int, screen: int = 0, state: int = 0, width: int = 1920) -> bytes:
    place = rectangle or (10, 20, 1200, 800)
    return struct.pack(">IHH4i4iiBBI4i", 0x1D9D0CB, 3, 0, *place, *place, screen, state, 0, width, *place)


@pytest.mark.parametrize(
    "value",
    [
        geometry(0, 0, MOST_PIXELS + 1, 100),
        geometry(-(2**31), 0, 2**31 - 1, 100),
        geometry(500, 500, 100, 100),
        geometry(screen=2**31 - 1),
        geometry(state=7),
        geometry(width=2**32 - 1),
        geometry() + b"\0",
        geometry()[:-1],
    ],
)
def test_a_place_that_no_desktop_has_is_not_passed_on(path, value):
    WindowMemory(path).write({"window": value})
    assert WindowMemory(path).geometry("window") is None
    WindowMemory(path).write({"window": geometry()})
    assert WindowMemory(path).geometry("window") == geometry()


@pytest.mark.parametrize(
    "value",
    [
        struct.pack(">iiI", 0xFF, 1, 2**32 - 1),
        struct.pack(">iiI3i", 0xFF, 1, 3, -1, 2, 3),
        struct.pack(">iiI3i", 0xFF, 1, 3, 2**31 - 1, 2, 3),
        struct.pack(">iiI3i", 0xFF, 1, 3, 0, 0, 0),
        struct.pack(">iiI2i", 0xFF, 1, 2, 1, 2),
        struct.pack(">iiI3i", 0xFE, 1, 3, 1, 2, 3),
    ],
)
def test_sizes_that_no_window_has_are_not_passed_on(path, value):
    WindowMemory(path).write({"columns": value})
    assert WindowMemory(path).sizes("columns", 3) is None


def test_no_file_costs_the_window_whatever_is_in_it(opened, path, record_property):
    """Seeded: cuts, flips, insertions and noise; each is read, and some are shown by the real window."""
    window = opened(path)
    window.close_for_good()
    whole = path.read_bytes()
    chance = random.Random(12)
    slowest_s = 0.0
    for number in range(MUTATIONS):
        path.write_bytes(mutations.damaged(whole, chance, PIECES))
        began_s = time.monotonic()
        use(path)
        if number % (MUTATIONS // WINDOWS) == 0:
            shown = opened(path)
            shown.show()
            assert SMALLEST[0] <= shown.width() <= MOST_PIXELS
            shown.hide()
        slowest_s = max(slowest_s, time.monotonic() - began_s)
    record_property(
        "fuzzed", f"window, shown: {MUTATIONS} inputs, {WINDOWS} by a window, the slowest {slowest_s:.3f} s"
    )
    assert slowest_s < 5 * DEADLINE_S
