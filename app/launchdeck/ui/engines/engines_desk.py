"""The engines view with what it starts: testing, getting and removing engines, and naming programs in the settings."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Qt, Slot

from launchdeck.domain.errors import Cause, LaunchdeckError
from launchdeck.domain.text import Message

if TYPE_CHECKING:
    from launchdeck.core import Core
    from launchdeck.domain.gpu import Gpu
    from launchdeck.serving.trial import Trial
    from launchdeck.settings.schema import Settings
    from launchdeck.ui.controller import Controller
    from launchdeck.ui.discovery import Discovery
    from launchdeck.ui.engines.engine_getting import EngineGetting
    from launchdeck.ui.window.main_window import MainWindow


class EnginesDesk(QObject):
    """`apply` takes settings that have changed."""

    def __init__(
        self,
        window: MainWindow,
        core: Core,
        discovery: Discovery,
        controller: Controller,
        apply: Callable[[Settings], None],
    ) -> None:
        super().__init__(window)
        self._window = window
        self._core = core
        self._discovery = discovery
        self._controller = controller
        self._apply = apply
        self._getting: EngineGetting | None = None

    def close(self) -> None:
        """Give up what is being got."""
        if self._getting is not None:
            self._getting.cancel()

    @Slot()
    def open(self) -> None:
        """Show the engines of this machine."""
        from launchdeck.ui.engines.engine_getting import EngineGetting  # noqa: PLC0415 (when it is wanted)
        from launchdeck.ui.engines.engines_dialog import EnginesDialog  # noqa: PLC0415

        if self._getting is None:
            self._getting = EngineGetting(self._core.setup, self._gpus, self)
            self._getting.got.connect(self._look_again)
        dialog = EnginesDialog(
            self._try_engine,
            self._remove,
            self._getting,
            self._core.setup.paths,
            self._window,
        )
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.set_engines(self._core.planner.engines or ())
        self._discovery.engines_found.connect(dialog.set_engines)
        dialog.program_chosen.connect(self._use_program)
        dialog.open()

    async def _try_engine(self, engine_id: str, model: Path) -> Trial:
        from launchdeck.serving.trial import try_engine  # noqa: PLC0415 (when it is wanted)

        try:
            return await try_engine(self._core.manager, engine_id, model)
        finally:
            self._controller.show_all()  # its row has gone with it

    def _gpus(self) -> tuple[Gpu, ...]:
        inventory = self._core.planner.inventory
        return tuple(reading.gpu for reading in inventory.gpus) if inventory else ()

    @Slot(object)
    def _look_again(self, _folder: Path) -> None:
        self._controller.spawn(self._discovery.look())

    async def _remove(self, folder: Path) -> None:
        from launchdeck.engines.getting.fetched import folder_of, remove  # noqa: PLC0415

        paths = self._core.setup.paths
        users = [
            deployment.plan.model_id
            for deployment in self._core.manager.deployments
            if deployment.state.is_live and folder_of(deployment.plan.engine, paths) == folder
        ]
        if users:
            raise LaunchdeckError.of(
                Cause.CONFLICT,
                Message("{models} run on this engine.", models=", ".join(users)),
                Message("Stop them first."),
            )
        await asyncio.to_thread(remove, folder)
        self._look_again(folder)

    @Slot(str, str)
    def _use_program(self, setting: str, path: str) -> None:
        store = self._core.setup.store
        try:
            store.save(replace(store.settings, **{setting: path}))  # type: ignore[arg-type]
        except LaunchdeckError as error:
            self._window.notice.show_failure(error.failure)
        else:
            self._apply(store.settings)
