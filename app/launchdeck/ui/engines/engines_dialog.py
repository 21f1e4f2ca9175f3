"""The engines of this machine: what each is and can, which comes first, and whether it works."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import Qt, Signal, Slot
from PySide6.QtWidgets import (
    QDialog,
    QDialogButtonBox,
    QFileDialog,
    QFrame,
    QHBoxLayout,
    QLabel,
    QMessageBox,
    QPushButton,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

from launchdeck.engines.getting.fetched import folder_of
from launchdeck.engines.registry import engine_of
from launchdeck.ui.engines.engine_offers import EngineOffers
from launchdeck.ui.kit.asking import Asking
from launchdeck.ui.kit.deployment_text import engine_word
from launchdeck.ui.kit.format import duration
from launchdeck.ui.kit.i18n import tr

if TYPE_CHECKING:
    from launchdeck.domain.plan import EngineInfo
    from launchdeck.serving.trial import Trial
    from launchdeck.settings.paths import Paths
    from launchdeck.ui.engines.engine_getting import EngineGetting

Try = Callable[[str, Path], Awaitable["Trial"]]
Remove = Callable[[Path], Awaitable[None]]
_SIZE_PX = (660, 640)


class EnginesDialog(QDialog):
    """`program_chosen` carries a setting's name and the path that the user chose for it.

    `try_engine` deploys the demo model on an engine (by its id), asks it and stops it. `remove` takes the engine in a
    folder away. An engine that has just been got is tested as soon as it is listed.
    """

    program_chosen = Signal(str, str)

    def __init__(
        self, try_engine: Try, remove: Remove, getting: EngineGetting, paths: Paths, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self.setWindowTitle(tr("Engines of this machine"))
        self._try_engine = try_engine
        self._remove = remove
        self._paths = paths
        self._to_test: Path | None = None
        self._offers = EngineOffers(getting)
        getting.got.connect(self._test_when_listed)
        self._engines: tuple[EngineInfo, ...] | None = None
        self._cards: list[EngineCard] = []
        self._column = QVBoxLayout()
        self._column.setContentsMargins(0, 0, 0, 0)
        self._lay_out()
        self.finished.connect(lambda _: self._cancel())

    def set_engines(self, engines: tuple[EngineInfo, ...]) -> None:
        """List these, in the order in which they are preferred. A test that runs is given up only if they differ."""
        if engines == self._engines:
            return
        self._engines = engines
        self._cancel()
        for card in self._cards:
            card.hide()
            card.deleteLater()
        self._cards = []
        seen: set[str] = set()
        for place, engine in enumerate(engines):
            backend = engine_of(engine.kind).backend
            is_first = backend not in seen
            card = EngineCard(engine, self._try_engine, self._remove, self._paths, is_first=is_first)
            seen.add(backend)
            self._cards.append(card)
            self._column.insertWidget(place, card)
        self._test_got()

    @Slot(object)
    def _test_when_listed(self, folder: Path) -> None:
        self._to_test = folder

    def _test_got(self) -> None:
        for card in self._cards:
            if card.folder is not None and card.folder == self._to_test:
                self._to_test = None
                card.test()

    def _cancel(self) -> None:
        for card in self._cards:
            card.cancel()

    def _choose_server(self) -> None:
        dialog = QFileDialog(self, tr("The program llama-server"))
        dialog.setFileMode(QFileDialog.FileMode.ExistingFile)
        dialog.fileSelected.connect(lambda path: self.program_chosen.emit("llama_server_path", path))
        dialog.open()

    def _choose_vllm(self) -> None:
        dialog = QFileDialog(self, tr("The virtual environment that vLLM is in"))
        dialog.setFileMode(QFileDialog.FileMode.Directory)
        dialog.fileSelected.connect(lambda path: self.program_chosen.emit("vllm_path", path))
        dialog.open()

    def _lay_out(self) -> None:
        page = QWidget()
        page.setProperty("role", "page")
        page.setLayout(self._column)
        self._column.addWidget(self._offers)
        self._column.addStretch(1)
        scroll = QScrollArea(widgetResizable=True)
        scroll.setFrameShape(QFrame.Shape.NoFrame)
        scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        scroll.setWidget(page)
        buttons = QDialogButtonBox()
        buttons.addButton(tr("Close"), QDialogButtonBox.ButtonRole.RejectRole)
        buttons.rejected.connect(self.reject)
        bottom = QHBoxLayout()
        for text, choose in (
            (tr("Use a llama-server …"), self._choose_server),
            (tr("Use a vLLM …"), self._choose_vllm),
        ):
            button = QPushButton(text, clicked=choose)
            button.setAutoDefault(False)
            bottom.addWidget(button)
        bottom.addStretch(1)
        bottom.addWidget(buttons)
        layout = QVBoxLayout(self)
        layout.addWidget(scroll, 1)
        layout.addLayout(bottom)
        self.resize(*_SIZE_PX)


class EngineCard(QFrame):
    """One engine, with the button that tests it and what came of that.

    `folder` is that of an engine that was got through Launchdeck; such a one can be removed.
    """

    def __init__(self, engine: EngineInfo, try_engine: Try, remove: Remove, paths: Paths, *, is_first: bool) -> None:
        super().__init__()
        self.setProperty("role", "panel")
        self.folder = folder_of(engine, paths)
        self._paths = paths
        self._engine = engine
        self._try_engine = try_engine
        self._remove = remove
        self._asking = Asking(self._ended)
        title = QLabel(" ".join(filter(None, (engine_word(engine.kind), engine.version))))
        title.setProperty("role", "title")
        facts = QLabel("\n".join(engine_facts(engine, is_first=is_first)), wordWrap=True)
        facts.setProperty("role", "muted")
        facts.setTextFormat(Qt.TextFormat.PlainText)
        facts.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self._result = QLabel(wordWrap=True)
        self._result.setTextFormat(Qt.TextFormat.PlainText)
        self._result.hide()
        self._button = QPushButton(tr("Test"), clicked=self.test)
        self._button.setAccessibleName(tr("Test {engine}", engine=title.text()))
        self._button.setAutoDefault(False)
        self._button.setToolTip(tr("Deploys the demo model on this engine, asks it one question, stops it"))
        head = QHBoxLayout()
        head.addWidget(title, 1)
        head.addWidget(self._button)
        if self.folder is not None:
            head.addWidget(self._make_remove_button(self.folder, title.text()))
        layout = QVBoxLayout(self)
        layout.addLayout(head)
        layout.addWidget(facts)
        layout.addWidget(self._result)

    @property
    def result(self) -> str:
        """What came of the last test, "" before the first."""
        return self._result.text()

    def cancel(self) -> None:
        """Give a running test up."""
        self._asking.cancel()

    def test(self) -> None:
        """Deploy a small model on it, ask and stop."""
        if self._asking.is_running:
            return
        self._button.setEnabled(False)
        self._show(tr("The demo model is being deployed …"), "")
        self._asking.start(self._work)

    def _make_remove_button(self, folder: Path, name: str) -> QPushButton:
        button = QPushButton(tr("Remove"), clicked=lambda: self._ask_to_remove(folder, name))
        button.setAccessibleName(tr("Remove {engine}", engine=name))
        button.setAutoDefault(False)
        return button

    def _ask_to_remove(self, folder: Path, name: str) -> None:
        question = QMessageBox(
            QMessageBox.Icon.Question,
            tr("Remove"),
            tr("Remove {engine} and delete its folder?", engine=name),
            parent=self,
        )
        question.setInformativeText(str(folder))
        remove = question.addButton(tr("Remove"), QMessageBox.ButtonRole.DestructiveRole)
        question.addButton(tr("Cancel"), QMessageBox.ButtonRole.RejectRole)
        question.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        remove.clicked.connect(lambda: self._asking.start(lambda: self._remove(folder)))
        question.open()

    async def _work(self) -> None:
        model = await asyncio.to_thread(self._small_model)
        if model is None:
            self._show(tr("The demo model is not installed."), "bad")
            return
        trial = await self._try_engine(self._engine.id, model)
        where = ", ".join(trial.devices) or "CPU"
        words = engine_of(self._engine.kind).words.answers
        self._show(tr(words.template, time=duration(trial.ready_after_s), where=where, answer=trial.answer), "ok")

    def _small_model(self) -> Path | None:
        return engine_of(self._engine.kind).trial_model(self._paths.cache)

    def _ended(self, error: str) -> None:
        self._button.setEnabled(True)
        if error:
            self._show(f"▲ {error}", "bad")

    def _show(self, text: str, state: str) -> None:
        self._result.setText(text)
        self._result.setProperty("state", state)
        self._result.style().polish(self._result)
        self._result.show()


def engine_facts(engine: EngineInfo, *, is_first: bool) -> list[str]:
    """What there is to know, a line each."""
    lines = []
    if is_first:
        lines.append(tr(engine_of(engine.kind).words.first_choice))
    lines.append(tr("Comes with Launchdeck") if engine.path is None else str(engine.path))
    gpus = ", ".join(sorted(gpu_type.upper() for gpu_type in engine.gpu_types))
    lines.append(tr("Runs on: {where}", where=f"{gpus}, CPU" if gpus else "CPU"))
    lines += [line for line in engine.devices if line]
    if engine.build is not None:
        lines.append(tr("Build {build}", build=engine.build))
    if engine.flags:
        lines.append(tr("Supports {count} options", count=len(engine.flags)))
    if engine.architectures:
        lines.append(tr("Supports {count} architectures", count=len(engine.architectures)))
    if engine.supports_rpc:
        lines.append(tr("Can use RPC workers"))
    return lines
