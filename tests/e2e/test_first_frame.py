"""What is there at the first frame and what is not, a start without complaints of Qt, and charts that go on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import pytest

from e2e.window import in_real_window, quick_settings, until
from launchdeck.core import Core
from launchdeck.ui.application import WindowApplication

HEAVY = ("asyncio", "qasync", "ssl", "numpy", "pyqtgraph", "pydantic", "httpx", "launchdeck.core")

START = """if True:
    import json, sys
    from PySide6.QtCore import qInstallMessageHandler
    from launchdeck import compose
    from launchdeck.settings.paths import Paths
    from launchdeck.settings.setup import Setup

    complaints = []
    qInstallMessageHandler(lambda kind, context, text: complaints.append(text))
    heavy = []

    async def main(application):
        import asyncio
        await application.start()
        await asyncio.sleep(2)
        await application.end(keep=False)
        return 0

    def at_first_frame():
        heavy.extend(name for name in sys.argv[1:] if name in sys.modules)

    compose.in_window(Setup.of(Paths.resolve()), main, at_first_frame)
    print(json.dumps({"heavy": heavy, "complaints": complaints, "curves": "pyqtgraph" in sys.modules}))
"""


def test_the_first_frame_waits_for_nothing_heavy_and_qt_has_nothing_to_complain_of():
    command = [sys.executable, "-X", "faulthandler", "-c", START, *HEAVY]
    answer = subprocess.run(command, env=os.environ, capture_output=True, text=True, check=True, timeout=60)
    seen = json.loads(answer.stdout)
    expected = ["This plugin does not support propagateSizeHints()"]  # the platform without a screen
    assert seen["heavy"] == []
    assert [text for text in seen["complaints"] if text not in expected] == []
    assert seen["curves"]
    assert answer.stderr == ""


@pytest.mark.timeout(180)
@pytest.mark.usefixtures("qapp")
def test_the_charts_go_on_where_the_last_run_ended():
    def measured(application: WindowApplication) -> list[float]:
        columns = application.panels.charts.visible_columns()
        return columns[0].times_s.tolist() if columns else []

    async def first(application: WindowApplication, _core: Core) -> None:
        await until(lambda: len(measured(application)) >= 3, "three readings")

    async def second(application: WindowApplication, _core: Core) -> None:
        await until(lambda: measured(application)[-1:] > [second_began_s], "a reading of this run")
        before = [time_s for time_s in measured(application) if time_s < second_began_s]
        assert len(before) >= 3

    in_real_window(first, quick_settings())
    second_began_s = time.time()
    in_real_window(second, quick_settings())
