"""The choice of the engine: the one that suits best, or a certain one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QComboBox, QWidget

from launchdeck.ui.kit.deployment_text import engine_word
from launchdeck.ui.kit.i18n import tr

if TYPE_CHECKING:
    from launchdeck.domain.plan import EngineInfo


class EngineCombo(QComboBox):
    """The first entry leaves the choice to the planner and shows what it chose."""

    chosen = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setAccessibleName(tr("Engine"))
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.addItem(tr("Auto"), None)
        self.activated.connect(lambda _: self.chosen.emit())

    def set_engines(self, engines: tuple[EngineInfo, ...]) -> None:
        """Offer these; the chosen one stays if it is still there."""
        current = self.engine_id()
        while self.count() > 1:
            self.removeItem(1)
        for engine in engines:
            self.addItem(" ".join(filter(None, (engine_word(engine.kind), engine.version))), engine.id)
            self.setItemData(self.count() - 1, str(engine.path or ""), Qt.ItemDataRole.ToolTipRole)
        self.choose(current)

    def show_auto(self, engine: EngineInfo | None) -> None:
        """What the planner chose for the request as it stands."""
        self.setItemText(0, tr("Auto: {engine}", engine=engine_word(engine.kind)) if engine else tr("Auto"))

    def engine_id(self) -> str | None:
        return self.currentData()

    def choose(self, engine_id: str | None) -> None:
        """Tells nobody; an engine that is gone leaves the choice to the planner."""
        self.setCurrentIndex(max(self.findData(engine_id), 0))
