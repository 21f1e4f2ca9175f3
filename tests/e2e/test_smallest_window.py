"""The window at its smallest: whatever lies above something else in the middle has the height that it needs."""

from __future__ import annotations

import pytest

from e2e.window import in_real_window, quick_settings, until
from launchdeck.core import Core
from launchdeck.ui.application import WindowApplication
from launchdeck.ui.charts.chart_panel import ChartPanel
from launchdeck.ui.window.main_window import SMALLEST

pytestmark = [pytest.mark.timeout(300), pytest.mark.usefixtures("qapp")]


@pytest.mark.parametrize("language", ["en", "ko"])
def test_nothing_is_squeezed_below_what_it_needs(language: str) -> None:
    async def journey(application: WindowApplication, core: Core) -> None:
        api = application.window.status_line.api
        await until(lambda: "http" in api.text(), "the last part that comes")
        application.window.resize(*SMALLEST)
        await until(lambda: application.window.height() == SMALLEST[1], "the smallest window")
        parts = [*application.window.findChildren(ChartPanel), application.panels.deployments, application.panels.tabs]
        squeezed = [part for part in parts if part.height() < part.minimumSizeHint().height()]
        assert squeezed == []

    in_real_window(journey, quick_settings(language=language))
