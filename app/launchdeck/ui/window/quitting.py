"""Ending the application: as the settings have it, or as the user says when models run."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Qt, Signal, Slot

from launchdeck.domain.errors import LaunchdeckError

if TYPE_CHECKING:
    from launchdeck.settings.store import SettingsStore
    from launchdeck.ui.window.main_window import MainWindow
    from launchdeck.ui.window.quit_dialog import QuitDialog

logger = logging.getLogger(__name__)


class Quitting(QObject):
    """`decided` comes once it is settled that the application ends, with whether its models serve on."""

    decided = Signal(bool)

    def __init__(self, window: MainWindow, store: SettingsStore) -> None:
        super().__init__(window)
        self._window = window
        self._store = store
        self._question: QuitDialog | None = None

    def ask(self, running: int) -> None:
        """Quit; where models run and the settings leave it open, the user says what becomes of them."""
        if not running or self._store.settings.on_quit != "ask":
            self.without_asking()
            return
        self._window.bring_to_front()
        if self._question is None:
            self._question = self._make_question(running)
        self._question.open()

    def without_asking(self) -> None:
        """Nobody is there to be asked (SIGTERM, Ctrl-C), or there is nothing to ask: "ask" keeps the models serving."""
        self.decided.emit(self._store.settings.on_quit != "stop")

    def _make_question(self, running: int) -> QuitDialog:
        from launchdeck.ui.window.quit_dialog import QuitDialog  # noqa: PLC0415 (after the first paint)

        question = QuitDialog(running, self._window)
        question.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        question.answered.connect(self._take_answer)
        question.finished.connect(self._forget_question)
        return question

    @Slot(str, bool)
    def _take_answer(self, policy: str, remember: bool) -> None:  # noqa: FBT001 (a signal's argument)
        if remember:
            try:
                self._store.save(replace(self._store.settings, on_quit=policy))
            except LaunchdeckError as error:  # the answer itself still counts
                logger.warning("What Quit does could not be remembered: %s", error)
        self.decided.emit(policy == "keep")

    @Slot()
    def _forget_question(self) -> None:
        self._question = None
