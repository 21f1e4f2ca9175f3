"""The column of devices: a card for every GPU, and one for the CPU."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QEvent, QSize, Qt, Signal
from PySide6.QtWidgets import QFrame, QScrollArea, QVBoxLayout, QWidget

from launchdeck.monitor.alerts import AlertKind
from launchdeck.ui.gpus.alert_text import alert_text
from launchdeck.ui.gpus.detection_button import DetectionButton
from launchdeck.ui.gpus.gpu_card import GpuCard
from launchdeck.ui.kit.i18n import tr

if TYPE_CHECKING:
    from collections.abc import Sequence

    from launchdeck.domain.deployment import Deployment
    from launchdeck.domain.gpu import Gpu, GpuReading, Inventory
    from launchdeck.monitor.alerts import Alert

_GAP_PX = 12
_USUAL_WIDTH_PX = 280
_SMALLEST_WIDTH_PX = 220


class GpuCards(QWidget):
    """Cards are made when a device is first seen and then only kept up to date.

    `use_clicked` carries a device's uuid and whether the user wants to use it. At most one card
    is open. The line at the bottom leads to how the devices were found.
    """

    use_clicked = Signal(str, bool)
    detection_requested = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._cards: dict[str, GpuCard] = {}
        self._used: frozenset[str] = frozenset()
        self._stop: GpuCard | None = None
        self._inventory: Inventory | None = None
        self._deployments: tuple[Deployment, ...] = ()
        self._interval_s = 5.0
        self.setAccessibleName(tr("GPUs"))
        self.setMinimumWidth(_SMALLEST_WIDTH_PX)
        page = QWidget()
        self._column = QVBoxLayout(page)
        self._column.setContentsMargins(0, 0, 0, 0)
        self._column.setSpacing(_GAP_PX)
        self._column.addStretch(1)
        self._footer = DetectionButton()
        self._footer.clicked.connect(self.detection_requested)
        self._footer.hide()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(_GAP_PX)
        self._area = _scrolled(page)
        layout.addWidget(self._area, 1)
        layout.addWidget(self._footer)

    def sizeHint(self) -> QSize:
        return QSize(_USUAL_WIDTH_PX, 600)

    def set_interval_s(self, interval_s: float) -> None:
        """How often the devices are read, for the line at the bottom."""
        self._interval_s = interval_s
        self._show_footer()

    def show_inventory(self, inventory: Inventory) -> None:
        """A new reading of all devices."""
        self._inventory = inventory
        readings = (*inventory.gpus, inventory.cpu)
        if [reading.gpu for reading in readings] != [card.gpu for card in self._cards.values()]:
            self._match_cards([reading.gpu for reading in readings])
        self._show_readings()
        self._show_footer()

    def show_deployments(self, deployments: Sequence[Deployment]) -> None:
        """Whose memory is coloured in the bars: the running ones of these."""
        self._deployments = tuple(deployment for deployment in deployments if deployment.state.is_live)
        self._show_readings()

    def show_alerts(self, alerts: Sequence[Alert]) -> None:
        """Mark the cards of these GPUs, and no others. That a GPU is lost its card says by itself."""
        marks = [(alert.gpu.uuid, alert_text(alert)) for alert in alerts if alert.kind is not AlertKind.LOST]
        for uuid, card in self._cards.items():
            card.show_alert("\n".join(f"▲ {text}" for marked, text in marks if marked == uuid))

    def show_used(self, uuids: frozenset[str]) -> None:
        """Mark these devices as those that the form's launch uses; tells nobody."""
        if uuids != self._used:
            self._used = uuids
            self._show_used()

    def cards(self) -> tuple[GpuCard, ...]:
        """From top to bottom."""
        return tuple(self._cards.values())

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if event.type() == QEvent.Type.PaletteChange:
            self._show_readings()  # the segments' colours are the theme's

    def _match_cards(self, gpus: Sequence[Gpu]) -> None:
        """Keep the cards of devices that are still there, in the new order."""
        old, self._cards = self._cards, {}
        for place, gpu in enumerate(gpus):
            card = old.pop(gpu.uuid, None)
            if card is None or card.gpu != gpu:
                card = self._new_card(gpu, replaced=card)
            self._cards[gpu.uuid] = card
            self._column.insertWidget(place, card)
        for gone in old.values():
            self._remove(gone)
        self._show_used()

    def _new_card(self, gpu: Gpu, *, replaced: GpuCard | None) -> GpuCard:
        card = GpuCard(gpu)
        card.use_clicked.connect(lambda used: self.use_clicked.emit(card.gpu.uuid, used))
        card.opened.connect(lambda: self._close_others(card))
        card.arrow_pressed.connect(lambda step: self._step(card, step))
        if replaced is not None:
            card.set_open(replaced.details is not None)
            self._remove(replaced)
        return card

    def _remove(self, card: GpuCard) -> None:
        self._column.removeWidget(card)
        card.hide()
        card.deleteLater()

    def _show_readings(self) -> None:
        if self._inventory is None:
            return
        readings: tuple[GpuReading, ...] = (*self._inventory.gpus, self._inventory.cpu)
        for card, reading in zip(self._cards.values(), readings, strict=True):
            card.show_reading(reading, self._deployments)

    def _show_footer(self) -> None:
        if self._inventory is None:
            return
        values = {"detector": self._inventory.detector.replace("+", " + "), "seconds": f"{self._interval_s:g}"}
        if self._inventory.replayed:
            self._footer.show_text(tr("REPLAY: a recorded inventory, detected by {detector}", **values))
        else:
            self._footer.show_text(tr("Detected by {detector}, every {seconds} s", **values))

    def _show_used(self) -> None:
        for card in self._cards.values():
            card.set_used(card.gpu.uuid in self._used)
        self._rove()

    def _close_others(self, card: GpuCard) -> None:
        for other in self._cards.values():
            if other is not card:
                other.set_open(False)
        self._column.activate()  # so that what has been opened has its place
        self._area.ensureWidgetVisible(card, 0, 0)

    def _step(self, card: GpuCard, step: int) -> None:
        """Up and down lead to the neighbour."""
        cards = self.cards()
        place = cards.index(card) + step
        if 0 <= place < len(cards):
            self._stop = cards[place]
            self._rove()
            self._stop.setFocus(Qt.FocusReason.TabFocusReason)
            self._area.ensureWidgetVisible(self._stop, 0, 0)

    def _rove(self) -> None:
        """The tab key stops at one card: where the arrows have led, else at the first that is used, else at the first.
        The arrows lead on from there.
        """
        cards = self.cards()
        stop = (
            self._stop if self._stop in cards else next((card for card in cards if card.used), next(iter(cards), None))
        )
        for card in cards:
            card.set_tab_stop(card is stop)


def _scrolled(page: QWidget) -> QScrollArea:
    area = QScrollArea()
    area.setFrameShape(QFrame.Shape.NoFrame)
    area.setWidgetResizable(True)
    area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    area.setFocusPolicy(Qt.FocusPolicy.NoFocus)
    area.setWidget(page)
    return area
