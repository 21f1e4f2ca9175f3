"""How the devices were found: every step of the chain, and what came of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QDialog, QDialogButtonBox, QGridLayout, QLabel, QVBoxLayout, QWidget

from launchdeck.domain.detection import Outcome
from launchdeck.domain.text import Message
from launchdeck.ui.kit.i18n import tr

if TYPE_CHECKING:
    from launchdeck.domain.detection import Step
    from launchdeck.domain.gpu import Inventory

_WIDTH_PX = 560
_BETWEEN_STEPS_PX = 8
# Icon, word and colour of every outcome.
_LOOKS = {
    Outcome.FOUND: ("✓", Message("Found"), "ok"),
    Outcome.EMPTY: ("–", Message("No GPU of its kind"), ""),
    Outcome.NOT_INSTALLED: ("–", Message("Not installed"), ""),
    Outcome.SKIPPED: ("–", Message("Not asked"), ""),
    Outcome.FAILED: ("▲", Message("Failed"), "bad"),
    Outcome.STALLED: ("▲", Message("Does not answer"), "bad"),
}
_WHAT = {
    "AMDSMIDetector": Message("AMD's library (amdsmi)"),
    "AMDGPUSysfsDetector": Message("The kernel's files (amdgpu)"),
    "NVMLDetector": Message("NVIDIA's library (NVML)"),
    "TorchROCmDetector": Message("PyTorch for ROCm"),
    "TorchCudaDetector": Message("PyTorch for CUDA"),
    "CPUDetector": Message("The CPU, which is always there"),
}


class DetectionDialog(QDialog):
    """`refresh_requested`: the user wants all to be looked for anew. Kept up to date by `show_inventory`."""

    refresh_requested = Signal()

    def __init__(self, inventory: Inventory, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle(tr("How the devices were found"))
        self._steps: tuple[Step, ...] | None = None
        self._grid = QGridLayout()
        self._grid.setHorizontalSpacing(16)
        self._grid.setVerticalSpacing(2)
        self._grid.setColumnStretch(1, 1)
        self._note = QLabel()
        self._note.setProperty("role", "muted")
        self._note.setWordWrap(True)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(18, 16, 18, 14)
        layout.setSpacing(16)
        layout.addWidget(self._note)
        layout.addLayout(self._grid)
        layout.addStretch(1)
        layout.addWidget(self._buttons())
        self.resize(_WIDTH_PX, self.sizeHint().height())
        self.show_inventory(inventory)

    @property
    def lines(self) -> tuple[str, ...]:
        """What is shown, a line for every step."""
        return tuple(f"{tr(_WHAT.get(step.detector, step.detector))}: {_result(step)}" for step in self._steps or ())

    def show_inventory(self, inventory: Inventory) -> None:
        """A new reading."""
        if inventory.replayed:
            self._note.setText(tr("REPLAY: a recorded inventory, detected by {detector}", detector=inventory.detector))
        else:
            self._note.setText(tr("From top to bottom; what one cannot measure, the next one is asked for."))
        if inventory.steps == self._steps:
            return
        self._steps = inventory.steps
        while (item := self._grid.takeAt(0)) is not None:
            if widget := item.widget():
                widget.hide()
                widget.deleteLater()
        for row, step in enumerate(inventory.steps):
            self._add_step(row, step)

    def _add_step(self, row: int, step: Step) -> None:
        icon, word, state = _LOOKS[step.outcome]
        mark = QLabel(f"{icon} {tr(word)}")
        mark.setProperty("state", state)
        mark.setProperty("role", "" if state else "muted")
        what = QLabel(tr(_WHAT.get(step.detector, step.detector)))
        what.setToolTip(step.detector)
        self._grid.addWidget(mark, 2 * row, 0)
        self._grid.addWidget(what, 2 * row, 1)
        if text := _explanation(step):
            explanation = QLabel(text)
            explanation.setProperty("role", "muted")
            explanation.setWordWrap(True)
            explanation.setContentsMargins(0, 0, 0, _BETWEEN_STEPS_PX)
            explanation.setTextFormat(Qt.TextFormat.PlainText)
            explanation.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
            self._grid.addWidget(explanation, 2 * row + 1, 1)
        self._grid.setRowMinimumHeight(2 * row + 1, _BETWEEN_STEPS_PX)

    def _buttons(self) -> QDialogButtonBox:
        buttons = QDialogButtonBox()
        refresh = buttons.addButton(tr("Scan again"), QDialogButtonBox.ButtonRole.ActionRole)
        refresh.clicked.connect(self.refresh_requested)
        buttons.addButton(tr("Close"), QDialogButtonBox.ButtonRole.RejectRole)
        buttons.rejected.connect(self.reject)
        return buttons


def _result(step: Step) -> str:
    icon, word, _ = _LOOKS[step.outcome]
    return " · ".join((f"{icon} {tr(word)}", *_explanation(step).splitlines()))


def _explanation(step: Step) -> str:
    version = "" if step.version is None else tr("Driver {version}", version=step.version)
    reason = "" if step.reason is None else tr(step.reason)
    return "\n".join(part for part in (version, reason) if part)
