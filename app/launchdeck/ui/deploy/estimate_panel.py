"""What a launch will take, device by device, and whether it fits: the part of the form that moves with the slider."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QEvent, Qt, QTimer, Signal
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QPushButton, QSizePolicy, QVBoxLayout, QWidget

from launchdeck.domain.errors import Cause
from launchdeck.domain.plan import Tier, Verdict
from launchdeck.engines import advice
from launchdeck.engines.fixes import NO_ENGINE_FOR_GPUS
from launchdeck.planning.llama.estimate import HOST
from launchdeck.ui.deploy import verdict as verdicts
from launchdeck.ui.kit.deployment_text import device_label
from launchdeck.ui.kit.format import gib
from launchdeck.ui.kit.i18n import tr
from launchdeck.ui.kit.stacked_bar import Segment, StackedBar
from launchdeck.ui.kit.theme import tokens
from launchdeck.ui.kit.wrapping_label import WrappingLabel

if TYPE_CHECKING:
    from launchdeck.domain.errors import Failure, Fix
    from launchdeck.domain.plan import DeviceEstimate, LaunchPlan
    from launchdeck.engines.advice import Preview

_ADVICE_DELAY_MS = 250
_REMARKABLE = frozenset({Verdict.TIGHT, Verdict.DOES_NOT_FIT})
_WANTS_ENGINE = frozenset({Cause.ENGINE_MISSING, Cause.ENGINE_UNSUITED})


class DeviceEstimateRow(QWidget):
    """One device: its name, needed of free, the bar, what each colour is, and to whom free memory is promised."""

    def __init__(self) -> None:
        super().__init__()
        self._name = QLabel()
        self._sum = QLabel()
        self._bar = StackedBar(height_px=13)
        self._legend = QLabel(wordWrap=True, textFormat=Qt.TextFormat.RichText)
        self._legend.setProperty("role", "small")
        self._promised = WrappingLabel("small")
        head = QHBoxLayout()
        head.addWidget(self._name)
        head.addStretch(1)
        head.addWidget(self._sum)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(6)
        column.addLayout(head)
        column.addWidget(self._bar)
        column.addWidget(self._legend)
        column.addWidget(self._promised)

    def show_estimate(self, name: str, estimate: DeviceEstimate, margin_bytes: int) -> None:
        segments = _segments(estimate)
        self._name.setText(name)
        needed = f"<b>{gib(estimate.total_bytes)}</b>"
        free_bytes = _free_bytes(estimate)
        free = "" if free_bytes is None else gib(free_bytes)
        text = tr("{needed} of {free} GiB free", needed=needed, free=free) if free else f"{needed} GiB"
        verdict = estimate.verdict(margin_bytes)
        self._sum.setText(f"{verdicts.sign(verdict)} {text}" if verdict in _REMARKABLE else text)
        self._sum.setToolTip(verdicts.chip(verdict)[0])
        self._bar.setAccessibleName(tr("Predicted memory on {device}", device=name))
        self._bar.show_segments(segments, estimate.total_bytes if free_bytes is None else free_bytes)
        self._promised.setText(_promised_text(estimate))
        self._promised.setVisible(bool(estimate.promises))
        self._legend.setText("&nbsp; ".join(_legend_entry(segment) for segment in segments if segment.size_bytes))
        self._legend.setToolTip(_origins(estimate))


class EstimatePanel(QFrame):
    """Shows a plan, or the sentence why there is none. `fix_requested` carries the Fix that was clicked, `rested` the
    plan that has stood there for a moment: worth asking the engine about. `engines_requested`: another engine would
    help, and the user wants to see which there are.
    """

    fix_requested = Signal(object)
    engines_requested = Signal()
    rested = Signal(object)

    def __init__(self, preview: Preview) -> None:
        super().__init__()
        self.setProperty("role", "panel")
        self._preview = preview
        self._plan: LaunchPlan | None = None
        self._rows: list[DeviceEstimateRow] = []
        self._shown_fixes: tuple[Fix, ...] = ()
        self._chip = QLabel()
        self._chip.setProperty("role", "chip")
        self._chip.setProperty("state", "")
        self._chip.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        self._sentence = WrappingLabel("small")
        self._warnings = WrappingLabel("small")
        self._fixes = QVBoxLayout(spacing=6)  # side by side three would be wider than the column
        self._engines = QPushButton(tr("Engines …"), visible=False)
        self._engines.clicked.connect(self.engines_requested)
        self._advice = QTimer(self, singleShot=True, interval=_ADVICE_DELAY_MS)
        self._advice.timeout.connect(self._advise)
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(12, 10, 12, 10)
        self._column.setSpacing(8)
        verdict = QHBoxLayout()
        verdict.setSpacing(8)
        verdict.addWidget(self._chip, 0, Qt.AlignmentFlag.AlignTop)
        verdict.addWidget(self._sentence, 1)
        self._column.addLayout(verdict)
        self._column.addLayout(self._fixes)
        self._column.addWidget(self._warnings)
        self._column.addWidget(self._engines, 0, Qt.AlignmentFlag.AlignLeft)

    def show_plan(self, plan: LaunchPlan) -> None:
        """The estimate at once; what would fit better, or instead, a moment after the last change."""
        self._plan = plan
        self._show_rows(_shown_devices(plan))
        if plan.blocker:
            self._show_failure(plan.blocker)
        else:
            self._say(*verdicts.chip(plan.verdict), verdicts.sentence(plan))
            if plan.verdict is Verdict.FITS:
                self._show_fixes(())
            self._advice.start()
        warnings = [tr(warning) for warning in plan.warnings]
        self._warnings.setText("\n".join(f"▲ {warning}" for warning in warnings))
        self._warnings.setVisible(bool(warnings))
        self._engines.setVisible(_wants_engine(plan.blocker) or NO_ENGINE_FOR_GPUS in plan.warnings)

    def show_failure(self, failure: Failure) -> None:
        """There is no plan: why, what to do, and the fixes as buttons."""
        self._clear()
        self._show_failure(failure)
        self._engines.setVisible(_wants_engine(failure))

    def show_waiting(self, text: str) -> None:
        """There is no plan yet."""
        self._clear()
        self._say("", "", text)
        self._show_fixes(())

    def changeEvent(self, event: QEvent) -> None:
        """The colours are in the legend's text and in the bars: a new theme needs new ones."""
        if event.type() == QEvent.Type.PaletteChange and self._plan:
            self._show_rows(_shown_devices(self._plan))
        super().changeEvent(event)

    def _clear(self) -> None:
        self._plan = None
        self._advice.stop()
        self._show_rows(())
        self._warnings.hide()
        self._engines.hide()

    def _show_failure(self, failure: Failure) -> None:
        self._advice.stop()
        text = " ".join(tr(part) for part in (failure.message, failure.advice) if part)
        self._say(f"✗ {tr('not possible')}", "bad", text)
        self._show_fixes(failure.fixes)

    def _say(self, word: str, state: str, text: str) -> None:
        self._chip.setText(word)
        self._chip.setVisible(bool(word))
        if self._chip.property("state") != state:
            self._chip.setProperty("state", state)
            self._chip.style().unpolish(self._chip)
            self._chip.style().polish(self._chip)
        self._sentence.setText(text)
        self._sentence.setAccessibleName(f"{word} {text}".strip())

    def _show_rows(self, devices: tuple[tuple[str, DeviceEstimate, int], ...]) -> None:
        while len(self._rows) < len(devices):
            row = DeviceEstimateRow()
            self._column.insertWidget(len(self._rows), row)
            self._rows.append(row)
        for place, row in enumerate(self._rows):
            row.setVisible(place < len(devices))
            if place < len(devices):
                row.show_estimate(*devices[place])

    def _show_fixes(self, fixes: tuple[Fix, ...]) -> None:
        if fixes == self._shown_fixes:
            return
        self._shown_fixes = fixes
        while (item := self._fixes.takeAt(0)) is not None:
            if widget := item.widget():
                widget.deleteLater()
        for fix in fixes:
            button = QPushButton(tr(fix.label))
            button.clicked.connect(lambda _=False, fix=fix: self.fix_requested.emit(fix))
            self._fixes.addWidget(button, 0, Qt.AlignmentFlag.AlignLeft)

    def _advise(self) -> None:
        plan = self._plan
        if plan is None:
            return
        self.rested.emit(plan)
        self._show_fixes(advice.fixes(plan, self._preview))
        if plan.verdict is Verdict.FITS:
            n_ctx = advice.largest_context(plan, self._preview)
            if n_ctx is not None and n_ctx > plan.n_ctx:
                self._say(*verdicts.chip(plan.verdict), verdicts.context_sentence(plan, n_ctx))


def _wants_engine(failure: Failure | None) -> bool:
    return failure is not None and failure.cause in _WANTS_ENGINE


def _shown_devices(plan: LaunchPlan) -> tuple[tuple[str, DeviceEstimate, int], ...]:
    """Name, estimate and margin of the chosen GPUs, and of the RAM where layers or experts are left for it, or where it
    has too little.
    """
    devices = tuple(
        (device_label(plan, place), device, plan.margin_bytes) for place, device in enumerate(plan.estimate.devices)
    )
    is_on_gpus = devices and plan.layers.resolved == plan.layers.total and not plan.request.n_cpu_moe
    if is_on_gpus and plan.estimate.host.fits is not False:
        return devices
    return (*devices, ("RAM", plan.estimate.host, 0))


def _segments(estimate: DeviceEstimate) -> tuple[Segment, ...]:
    colors = tokens().models
    return (
        Segment(tr("weights"), estimate.weights_bytes, colors[0]),
        Segment("KV", estimate.kv_bytes, colors[1]),
        Segment(tr("compute"), estimate.compute_bytes, colors[2]),
        Segment(_overhead_label(estimate), estimate.overhead_bytes, tokens().muted),
        Segment(tr("promised"), estimate.promised_bytes, tokens().faint),
    )


def _overhead_label(estimate: DeviceEstimate) -> str:
    return tr("prompt cache, up to") if estimate.device == HOST else tr("driver")


def _free_bytes(estimate: DeviceEstimate) -> int | None:
    """All that is free, what is promised included."""
    return None if estimate.free_bytes is None else estimate.free_bytes + estimate.promised_bytes


def _promised_text(estimate: DeviceEstimate) -> str:
    """To whom, for the line below the sum: "of 12.4 free, 11.7 promised to coder"."""
    if not estimate.promises:
        return ""
    names = ", ".join(dict.fromkeys(promise.model_id for promise in estimate.promises))
    promised, free_bytes = gib(estimate.promised_bytes), _free_bytes(estimate)
    if free_bytes is None:
        return tr("{promised} promised to {names}", promised=promised, names=names)
    return tr("of {free} free, {promised} promised to {names}", free=gib(free_bytes), promised=promised, names=names)


def _origins(estimate: DeviceEstimate) -> str:
    """Which number comes from where."""
    words = {
        Tier.GUESS: tr("guessed from the model's keys and tensors"),
        Tier.FORMULA: tr("computed from the model's header"),
        Tier.ENGINE: tr("the engine's own account"),
        Tier.MEASURED: tr("measured at the last start on this GPU"),
    }
    lines = [f"{tr('weights')}, KV: {words[estimate.kv_tier]}", f"{tr('compute')}: {words[estimate.compute_tier]}"]
    if estimate.overhead_bytes and estimate.device != HOST:
        usual = tr("a usual value, until a start has shown the real one")
        measured = estimate.overhead_tier is Tier.MEASURED
        lines.append(f"{tr('driver')}: {words[Tier.MEASURED] if measured else usual}")
    return "\n".join(lines)


def _legend_entry(segment: Segment) -> str:
    """A square in the segment's colour and its size, kept together when the line breaks."""
    text = f"{segment.label} {gib(segment.size_bytes, 2)}".replace(" ", "&nbsp;")
    return f'<span style="color:{segment.color}">■</span>&nbsp;{text}'
