"""The real application in a process of its own: deploys a model through the window, then does what it is told.

Arguments: the model, and what comes once it runs: "wait" (to be killed) or the button to click in the question that
Quit asks. Prints one line: the deployment's id, its URL and its key.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from PySide6.QtWidgets import QApplication

from e2e.window import click, deploy, quick_settings, until
from launchdeck.compose import in_window
from launchdeck.domain.request import CPU_ONLY, ModelLoadRequest
from launchdeck.settings.paths import Paths
from launchdeck.settings.setup import Setup
from launchdeck.ui.application import WindowApplication
from launchdeck.ui.window.quit_dialog import QuitDialog


async def drive(application: WindowApplication, model: Path, then: str) -> None:
    await until(lambda: hasattr(application, "core") and application.core.planner.engines, "engines")
    await until(lambda: application.panels.form.request() is not None, "models")
    application.panels.form.show_request(ModelLoadRequest(model_path=model, gpu_uuids=CPU_ONLY, n_ctx=512))
    running = await deploy(application, application.core)
    print(running.id, running.plan.url, application.core.manager.api_key(running.id), flush=True)
    if then != "wait":
        application.ask_to_quit()
        (question,) = [w for w in QApplication.topLevelWidgets() if isinstance(w, QuitDialog) and w.isVisible()]
        click(question, then)


async def main(application: WindowApplication) -> int:
    driving = asyncio.create_task(drive(application, Path(sys.argv[1]), sys.argv[2]))
    await application.run()
    await driving
    return 0


if __name__ == "__main__":
    sys.exit(in_window(Setup.of(Paths.resolve(), settings=quick_settings()), main))
