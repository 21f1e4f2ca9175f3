"""Downloading a model from the hub: search, choose a file that has room, see it come, pause and go on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from PySide6.QtCore import Qt, Slot
from PySide6.QtGui import QShowEvent
from PySide6.QtWidgets import (
    QDialog,
    QDialogButtonBox,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QListWidget,
    QListWidgetItem,
    QProgressBar,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from launchdeck.files.apart import run_apart
from launchdeck.models import hub
from launchdeck.network.failures import too_slow
from launchdeck.ui.kit.asking import Asking
from launchdeck.ui.kit.format import gib_with_unit
from launchdeck.ui.kit.i18n import tr
from launchdeck.ui.kit.progress_text import progress_text
from launchdeck.ui.library.library_model import REACH_WORDS
from launchdeck.ui.library.model_getting import is_there
from launchdeck.ui.library.reach import reach

if TYPE_CHECKING:
    from launchdeck.domain.gpu import Inventory
    from launchdeck.domain.text import Message
    from launchdeck.ui.library.model_getting import ModelGetting

_T = TypeVar("_T")
_SIZE_PX = (680, 560)
# A word that it takes longer, and the end of it. Each question has a patience of its own, which looking up a name and
# a mirror that is asked for every file do not know.
_SLOW_S = 2.0
_PATIENCE_S = 60.0
_STEPS = 1000


class DownloadDialog(QDialog):
    """Shows what `getting` does and steers it. A download goes on when the dialog is closed."""

    def __init__(self, getting: ModelGetting, inventory: Inventory | None, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle(tr("Download a model"))
        self._getting = getting
        self._inventory = inventory
        self._choices: list[hub.Choice] = []
        self._notes: list[Message] = []
        self._looking = Asking(self._looked)
        self._make_parts()
        self._lay_out()
        getting.changed.connect(self._show_getting)
        getting.ended.connect(self._show_end)
        self.finished.connect(self._looking.cancel)
        self._show_getting()

    def showEvent(self, event: QShowEvent) -> None:
        """What was begun before the last restart is the first thing to be seen."""
        super().showEvent(event)
        if not self.repositories.count() and not self._looking.is_running:
            self._looking.start(self._list_begun)

    @Slot(object)
    def set_inventory(self, inventory: Inventory) -> None:
        """The machine that the models are to have room on."""
        self._inventory = inventory
        for row, choice in enumerate(self._choices):
            self.files.item(row).setText(self._words(choice))

    async def _list_begun(self) -> None:
        found = await run_apart(partial(hub.begun, self._getting.folder))
        self.repositories.addItems(found)
        if found:
            self._show(tr("Begun earlier: {count}. Choose one to go on.", count=len(found)))

    def _search(self) -> None:
        text = self.search.text().strip()
        if text:
            self._show(tr("Searching …"))
            self._looking.start(lambda: self._find(text))

    async def _find(self, text: str) -> None:
        found = await self._ask(partial(hub.search, text))
        self.repositories.clear()
        self.repositories.addItems(found)
        self._show_asked(tr("Repositories: {count}", count=len(found)))

    async def _ask(self, question: Callable[[Callable[[Message], None]], _T]) -> _T:
        """Ask the hub, and say so where it takes its time. What it tells beside the answer is in `_notes` then."""
        notes: list[Message] = []
        self._notes = notes
        asked = asyncio.ensure_future(run_apart(lambda: question(notes.append)))
        try:
            if not (await asyncio.wait({asked}, timeout=_SLOW_S))[0]:
                self._show(tr("The hub has not answered yet; closing this or another search gives it up."))
            async with asyncio.timeout(_PATIENCE_S):
                return await asked
        except TimeoutError as error:
            raise too_slow(hub.host(), _PATIENCE_S) from error
        finally:
            asked.cancel()

    def _show_asked(self, text: str) -> None:
        self._show(" ".join([*(f"▲ {tr(note)}" for note in self._notes), text]).strip())

    def _open_repository(self) -> None:
        item = self.repositories.currentItem()
        if item is not None:
            name = item.text()
            self._looking.start(lambda: self._list(name))

    async def _list(self, repository: str) -> None:
        self._set_choices([])
        self._show(tr("Looking …"))
        self._set_choices(await self._ask(partial(hub.choices, repository)))
        is_empty = not self._choices
        none = tr("There is no model in GGUF or safetensors format in {name}.", name=repository) if is_empty else ""
        self._show_asked(none)

    def _set_choices(self, choices: list[hub.Choice]) -> None:
        self._choices = choices
        self.files.clear()
        for choice in choices:
            self.files.addItem(QListWidgetItem(self._words(choice)))
        self._enable()

    def _words(self, choice: hub.Choice) -> str:
        room = "" if self._inventory is None else f"   {tr(REACH_WORDS[reach(choice.size_bytes, self._inventory)])}"
        return f"{choice.name}   {gib_with_unit(choice.size_bytes, 2)}{room}"

    def _choice(self) -> hub.Choice | None:
        row = self.files.currentRow()
        return self._choices[row] if 0 <= row < len(self._choices) else None

    def _start_or_pause(self) -> None:
        choice = self._choice()
        if self._getting.choice is not None:
            self._getting.pause()
            self._show(tr("Paused. What has come is kept."))
        elif choice is not None:
            self._show("")
            self._getting.start(choice)

    @Slot()
    def _show_getting(self) -> None:
        progress = self._getting.progress
        self._bar.setVisible(progress is not None)
        if self._getting.choice is not None and progress is not None:
            self._bar.setValue(_STEPS * progress.done_bytes // max(progress.total_bytes, 1))
            step = f"{tr('Checking')} · " if progress.is_checking else ""
            self._show(f"{self._getting.choice.name}: {step}{progress_text(progress)}")
        self._enable()

    @Slot(object, str)
    def _show_end(self, choice: hub.Choice, error: str) -> None:
        if error:
            self._show(f"▲ {error}", "bad")
        else:
            self._show(tr(is_there(choice)), "ok")

    def _looked(self, error: str) -> None:
        if error:
            self._show(f"▲ {error}", "bad")

    def _enable(self) -> None:
        choice = self._choice()
        running = self._getting.choice is not None
        self._go.setEnabled(running or choice is not None)
        begun = choice is not None and 0 < choice.fetched_bytes(self._getting.folder) < choice.size_bytes
        self._go.setText(tr("Pause") if running else tr("Go on") if begun else tr("Download"))
        for part in (self.search, self.repositories, self.files):
            part.setEnabled(not running)

    def _show(self, text: str, state: str = "") -> None:
        self.note.setText(text)
        self.note.setProperty("state", state)
        self.note.style().polish(self.note)

    def _make_parts(self) -> None:
        self.search = QLineEdit(placeholderText=tr("Search Hugging Face, say for “qwen3 gguf”, then press Enter"))
        self.search.setAccessibleName(tr("Search the hub"))
        self.search.returnPressed.connect(self._search)
        self.repositories = QListWidget()
        self.repositories.setAccessibleName(tr("Repositories"))
        self.repositories.currentRowChanged.connect(lambda _: self._open_repository())
        self.files = QListWidget()
        self.files.setAccessibleName(tr("Files"))
        self.files.currentRowChanged.connect(lambda _: self._enable())
        self._bar = QProgressBar(maximum=_STEPS, textVisible=False)
        self._bar.setAccessibleName(tr("Progress of the download"))
        self.note = QLabel(wordWrap=True)
        self.note.setTextFormat(Qt.TextFormat.PlainText)
        self._go = QPushButton(clicked=self._start_or_pause)
        self._go.setProperty("kind", "primary")
        self._go.setAutoDefault(False)

    def _lay_out(self) -> None:
        buttons = QDialogButtonBox()
        close = buttons.addButton(tr("Close"), QDialogButtonBox.ButtonRole.RejectRole)
        close.setAutoDefault(False)
        buttons.rejected.connect(self.reject)
        bottom = QHBoxLayout()
        bottom.addStretch(1)
        bottom.addWidget(self._go)
        bottom.addWidget(buttons)
        layout = QVBoxLayout(self)
        layout.addWidget(self.search)
        for title, part in ((tr("Repositories"), self.repositories), (tr("Files"), self.files)):
            heading = QLabel(title.upper())
            heading.setProperty("role", "heading")
            part.setProperty("role", "panel")
            layout.addWidget(heading)
            layout.addWidget(part, 1)
        layout.addWidget(self._bar)
        layout.addWidget(self.note)
        layout.addLayout(bottom)
        self.resize(*_SIZE_PX)
