"""The download of a model: it goes on while its dialog is closed, one file at a time."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Signal

from launchdeck.domain.text import Message
from launchdeck.models import hub
from launchdeck.ui.kit.asking import Asking

if TYPE_CHECKING:
    from launchdeck.network.download import Progress

_SHOW_INTERVAL_S = 0.1


def is_there(choice: hub.Choice) -> Message:
    """What is said of a download that is complete: what was checked, and of what nobody tells a checksum."""
    if not choice.unchecked:
        return Message("✓ {name} is there and was checked.", name=choice.name)
    if choice.unchecked == len(choice.files):
        return Message("✓ {name} is there, checked by its size alone: the hub tells no SHA-256.", name=choice.name)
    return Message(
        "✓ {name} is there and was checked, {count} of its files by their size alone.",
        name=choice.name,
        count=choice.unchecked,
    )


class ModelGetting(QObject):
    """`changed`: something below is another; `ended` carries the Choice and a sentence, empty if all of it is there.

    What is downloaded lies below `folder`. `choice` is what is on its way, None if nothing is; `progress` how far.
    """

    changed = Signal()
    ended = Signal(object, str)

    def __init__(self, folder: Path, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.folder = folder
        self.choice: hub.Choice | None = None
        self.progress: Progress | None = None
        self._told_at_s = 0.0
        self._is_complete = False
        self._fetching = Asking(self._stopped)

    def start(self, choice: hub.Choice) -> None:
        """Begin to get it, or go on with it."""
        self._fetching.cancel()
        self.choice, self.progress, self._is_complete = choice, None, False
        self._fetching.start(lambda: self._fetch(choice))
        self.changed.emit()

    def pause(self) -> None:
        """What has come is kept for the next time."""
        self._fetching.cancel()

    async def _fetch(self, choice: hub.Choice) -> None:
        await hub.fetch(choice, self.folder, self._tell)
        self._is_complete = True

    def _tell(self, progress: Progress) -> None:
        """Now and then: the news come a thousand times a second."""
        now_s = time.monotonic()
        self.progress = progress
        if now_s - self._told_at_s >= _SHOW_INTERVAL_S or progress.done_bytes == progress.total_bytes:
            self._told_at_s = now_s
            self.changed.emit()

    def _stopped(self, error: str) -> None:
        choice, self.choice = self.choice, None
        self.changed.emit()
        if error or self._is_complete:
            self.ended.emit(choice, error)
