"""The window at its smallest: whatever lies above something else in the middle has the height that it needs."""

from __future__ import annotations

from itertools import pairwise

import pytest

from e2e.window import in_real_window, quick_settings, until
from launchdeck.core import Core
from launchdeck.ui.application import WindowApplication
from launchdeck.ui.charts.chart_panel import ChartPanel
from launchdeck.ui.window.fitting import FRAME
from launchdeck.ui.window.main_window import CENTRE_NARROWEST_PX, GAP_PX, SMALLEST

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
        columns = [application.window._columns.widget(place).geometry() for place in range(3)]
        assert all(left.right() < right.left() for left, right in pairwise(columns)), "none lies on another"
        narrow = FRAME.left() + FRAME.right()  # on a screen of this width a little less is left for it
        application.window.setMinimumWidth(SMALLEST[0] - narrow)
        application.window.resize(SMALLEST[0] - narrow, SMALLEST[1])
        await until(lambda: application.window.width() == SMALLEST[0] - narrow, "the narrowest window")
        columns = [application.window._columns.widget(place) for place in range(3)]
        assert sum(column.minimumSizeHint().width() for column in columns[::2]) + CENTRE_NARROWEST_PX + 4 * GAP_PX <= (
            application.window.width()
        )

    in_real_window(journey, quick_settings(language=language))
