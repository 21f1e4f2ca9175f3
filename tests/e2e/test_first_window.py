"""The window on screens of several sizes, with a real X server and a window manager's frames."""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from PySide6.QtCore import QRect

from conftest import skip_or_fail

pytestmark = pytest.mark.timeout(300)

# What QWidget.saveGeometry writes, see window_memory.py.
GEOMETRY = struct.Struct(">IHH4i4iiBBI4i")


@contextmanager
def desktop(size: str) -> Iterator[dict[str, str]]:
    """The environment of a screen of this size with a window manager."""
    missing = [program for program in ("Xvfb", "openbox", "xdotool") if shutil.which(program) is None]
    if missing:
        skip_or_fail(f"programs for a real X server: {', '.join(missing)}")
    server = ("Xvfb", "-displayfd", "1", "-screen", "0", f"{size}x24", "-nolisten", "tcp")
    with subprocess.Popen(server, text=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as x:
        try:
            assert x.stdout is not None
            environment = {**os.environ, "DISPLAY": f":{x.stdout.readline().strip()}", "QT_QPA_PLATFORM": "xcb"}
            quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
            with subprocess.Popen(("openbox",), env=environment, **quiet) as manager:  # type: ignore[call-overload]
                yield environment
                manager.terminate()
        finally:
            x.terminate()


def shown(environment: dict[str, str]) -> dict[str, QRect]:
    """Where what is in the window that opens there is, see shown_window.py."""
    program, tests = (sys.executable, "-m", "e2e.shown_window"), Path(__file__).parents[1]
    done = subprocess.run(program, env=environment, cwd=tests, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return {name: QRect(*sides) for name, sides in json.loads(done.stdout).items()}


@pytest.mark.parametrize(
    ("size", "scale"), [("1280x720", "1"), ("1440x900", "1"), ("1920x1080", "1.5"), ("1920x1080", "2")]
)
def test_all_of_the_first_window_is_on_the_screen(size: str, scale: str) -> None:
    with desktop(size) as environment:
        places = shown({**environment, "QT_SCALE_FACTOR": scale})
    assert places["screen"].contains(places["frame"])
    assert places["window"].contains(places["deploy"])
    assert places["frame"].top() < places["window"].top(), "it has a title bar"


def test_a_window_of_a_larger_screen_is_fitted_to_this_one(launchdeck_home: Path) -> None:
    place = (400, 300, 400 + 2199, 300 + 1199)
    value = GEOMETRY.pack(0x1D9D0CB, 3, 0, *place, *place, 0, 0, 0, 1440, *place)
    file = launchdeck_home / "config" / "window.ini"
    file.parent.mkdir(parents=True, exist_ok=True)
    written = "".join(f"\\x{byte:02x}" for byte in value)
    file.write_text(f"[General]\nwindow=@ByteArray({written})\n")
    with desktop("1440x900") as environment:
        places = shown(environment)
    assert places["screen"].contains(places["frame"])
    assert places["window"].contains(places["deploy"])
