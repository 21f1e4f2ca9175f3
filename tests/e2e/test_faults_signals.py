"""The application is asked to end by the system. Fault 7."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest

from fakes.serving import Application, alive, no_process_left, until
from launchdeck.api.address import url_file
from launchdeck.serving import direct
from launchdeck.settings.paths import Paths
from launchdeck.settings.schema import Settings
from launchdeck.settings.store import SettingsStore

__all__ = ["no_process_left"]
pytestmark = pytest.mark.timeout(180)

WINDOW = """
import argparse
from launchdeck.compose import run_window
raise SystemExit(run_window(argparse.Namespace()))
"""
EXIT_PATIENCE_S = 5 * (5.0 + 3.0)


@pytest.mark.parametrize("policy", ["ask", "keep", "stop"])
def test_fault_07_sigterm_is_a_quit_as_the_settings_have_it(policy: str) -> None:
    """Nobody is there to be asked: "ask" keeps the models serving."""
    paths = Paths.resolve()
    models = Application(2, "keep", "--chatter")
    models.kill()
    SettingsStore(paths.settings_file).save(Settings(on_quit=policy, api_port=0))
    window = subprocess.Popen([sys.executable, "-c", WINDOW], stderr=subprocess.PIPE, text=True)
    until(url_file(paths).exists, "the interface, which opens when all is adopted", 60)
    window.terminate()
    _, errors = window.communicate(timeout=EXIT_PATIENCE_S)
    assert (window.returncode, errors) == (0, "")
    assert alive(models.pids) == ([] if policy == "stop" else models.pids)
    asyncio.run(direct.stop_all(paths))
