"""The part of the engines view that offers engines for this machine, and shows one being got."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QProgressBar, QPushButton, QVBoxLayout, QWidget

from launchdeck.ui.kit.format import gib, gib_with_unit
from launchdeck.ui.kit.i18n import tr
from launchdeck.ui.kit.progress_text import progress_text

if TYPE_CHECKING:
    from launchdeck.engines.getting.getting import Step
    from launchdeck.engines.getting.offers import Offer
    from launchdeck.ui.engines.engine_getting import EngineGetting

_STEPS = 1000


class EngineOffers(QWidget):
    """Nobody is asked over the network before the button is pressed."""

    def __init__(self, getting: EngineGetting, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._getting = getting
        self._rows: list[OfferRow] = []
        heading = QLabel(tr("Get an engine").upper())
        heading.setProperty("role", "heading")
        self._look = QPushButton(tr("Look for what fits this machine"), clicked=getting.look)
        self._look.setAutoDefault(False)
        self._look.setToolTip(tr("Asks {source}; another source can be named in the settings", source=getting.source))
        self._note = QLabel(wordWrap=True)
        self._note.setTextFormat(Qt.TextFormat.PlainText)
        head = QHBoxLayout()
        head.addWidget(heading, 1)
        head.addWidget(self._look)
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(0, 8, 0, 0)
        self._column.addLayout(head)
        self._column.addWidget(self._note)
        getting.changed.connect(self._show)
        self._show()

    def _show(self) -> None:
        getting = self._getting
        self._look.setEnabled(not getting.is_looking and getting.current is None)
        text, state = self._words()
        self._note.setText(text)
        self._note.setVisible(bool(text))
        self._note.setProperty("state", state)
        self._note.style().polish(self._note)
        offers = getting.offers or ()
        if [row.offer for row in self._rows] != list(offers):
            self._list(offers)
        for row in self._rows:
            row.show_state(getting)

    def _words(self) -> tuple[str, str]:
        getting = self._getting
        if getting.is_looking:
            return tr("Looking …"), ""
        if getting.problem and getting.problem_of is None:
            return f"▲ {getting.problem}", "bad"
        if getting.offers == ():
            return tr("Nothing is published that fits this machine."), ""
        return "", ""

    def _list(self, offers: tuple[Offer, ...]) -> None:
        for row in self._rows:
            row.hide()
            row.deleteLater()
        self._rows = [OfferRow(offer, self._getting) for offer in offers]
        for row in self._rows:
            self._column.addWidget(row)


class OfferRow(QFrame):
    """One engine to be got: what it is, why it is offered, and how far it has come."""

    def __init__(self, offer: Offer, getting: EngineGetting) -> None:
        super().__init__()
        self.setProperty("role", "panel")
        self.offer = offer
        self._getting = getting
        title = QLabel(offer.title)
        title.setProperty("role", "title")
        reason = QLabel(f"{tr(offer.reason)} · {_size(offer)}", wordWrap=True)
        reason.setProperty("role", "muted")
        self.button = QPushButton(clicked=self._press)
        self.button.setAutoDefault(False)
        self.bar = QProgressBar(textVisible=False)
        self.bar.setAccessibleName(tr("Progress of {name}", name=offer.title))
        self.note = QLabel(wordWrap=True)
        self.note.setTextFormat(Qt.TextFormat.PlainText)
        head = QHBoxLayout()
        head.addWidget(title, 1)
        head.addWidget(self.button)
        layout = QVBoxLayout(self)
        layout.addLayout(head)
        for part in (reason, self.bar, self.note):
            layout.addWidget(part)

    def show_state(self, getting: EngineGetting) -> None:
        """As `getting` is now."""
        is_current = getting.current == self.offer
        problem = getting.problem if getting.problem_of == self.offer else ""
        is_there = not is_current and getting.is_there(self.offer)
        self.button.setEnabled(is_current or (getting.current is None and not is_there))
        self._name_button(_button_word(self.offer, getting, is_there=is_there))
        self.bar.setVisible(is_current)
        text = f"▲ {problem}" if problem else ""
        if is_current:
            text = self._show_step(getting.step)
        self.note.setText(text)
        self.note.setVisible(bool(text))
        self.note.setProperty("state", "bad" if problem else "")
        self.note.style().polish(self.note)

    def _show_step(self, step: Step | None) -> str:
        """The bar, and the words beside it. A bar without an end runs to and fro."""
        progress = step.progress if step else None
        self.bar.setRange(0, _STEPS if progress else 0)
        if progress:
            self.bar.setValue(_STEPS * progress.done_bytes // max(progress.total_bytes, 1))
        words = tr(step.words) if step else tr("Beginning …")
        return f"{words} · {progress_text(progress)}" if progress else words

    def _name_button(self, text: str) -> None:
        self.button.setText(text)
        self.button.setAccessibleName(f"{text}: {self.offer.title}")

    def _press(self) -> None:
        if self._getting.current == self.offer:
            self._getting.cancel()
        else:
            self._getting.get(self.offer)


def _button_word(offer: Offer, getting: EngineGetting, *, is_there: bool) -> str:
    if getting.current == offer:
        return tr("Cancel")
    if is_there:
        return tr("Is there")
    return tr("Go on") if getting.is_begun(offer) else tr("Get")


def _size(offer: Offer) -> str:
    if offer.files:
        return tr("{size} to download", size=gib_with_unit(offer.needs_bytes, 2))
    return tr("needs about {size} GiB on the disk", size=gib(offer.needs_bytes, 0))
