"""The window up to its first frame: what is seen then is made, and nothing else is even imported."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QEventLoop
from PySide6.QtWidgets import QTabWidget

from launchdeck.ui.charts.charts import Charts
from launchdeck.ui.deploy.deploy_form import DeployForm
from launchdeck.ui.deployments.deployments_view import DeploymentsView
from launchdeck.ui.gpus.gpu_cards import GpuCards
from launchdeck.ui.kit import i18n, theme
from launchdeck.ui.kit.icons import app_icon
from launchdeck.ui.window.main_window import MainWindow, Panels
from launchdeck.ui.window.window_memory import WindowMemory

if TYPE_CHECKING:
    from PySide6.QtWidgets import QApplication

    from launchdeck.domain.plan import LaunchPlan
    from launchdeck.domain.request import ModelLoadRequest
    from launchdeck.engines.advice import Preview
    from launchdeck.settings.schema import Settings
    from launchdeck.settings.setup import Setup


def dress(app: QApplication, settings: Settings) -> None:
    """Name, icon, language and colours; before the first widget. The style sheet comes with FirstFrame."""
    app.setApplicationName("launchdeck")
    app.setApplicationDisplayName("Launchdeck")
    app.setDesktopFileName("launchdeck")
    i18n.set_language(settings.language)
    theme.prepare(app, settings.theme)
    app.setWindowIcon(app_icon())


class FirstFrame:
    """The window with its panels. Whoever can say what a launch would be sets `preview`."""

    def __init__(self, app: QApplication, setup: Setup) -> None:
        self.preview: Preview = lambda _request: None
        interval_s = setup.settings.sampling_interval_s
        form = DeployForm(self._ask_preview)
        self.panels = Panels(GpuCards(), Charts(interval_s), DeploymentsView(), QTabWidget(), form)
        self.panels.cards.set_interval_s(interval_s)
        self.window = MainWindow(self.panels, WindowMemory(setup.paths.config / "window.ini"))
        theme.apply(app, setup.settings.theme)

    def paint(self) -> None:
        """Show the window, and come back when its first frame is on the screen."""
        loop = QEventLoop()
        self.window.painted.connect(loop.quit)
        self.window.show()
        loop.exec()

    def _ask_preview(self, request: ModelLoadRequest) -> LaunchPlan | None:
        return self.preview(request)
