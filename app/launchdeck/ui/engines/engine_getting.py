"""What the engines view offers and gets: it goes on while the view is closed, one engine at a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from PySide6.QtCore import QObject, Signal

from launchdeck.domain.gpu import Gpu
from launchdeck.engines.getting.fetched import fetched_engines
from launchdeck.engines.getting.getting import Step, fetched_already_bytes, find_offers, get
from launchdeck.engines.getting.offers import Offer
from launchdeck.settings.setup import Setup
from launchdeck.ui.kit.asking import Asking
from launchdeck.ui.kit.i18n import tr

_SHOW_INTERVAL_S = 0.1


class EngineGetting(QObject):
    """`changed`: something below is another; `got` carries the folder of an engine that is complete.

    `offers` is None until they were looked for; `current` is the one that is being got, `step` how far that is.
    `problem` is a sentence about what failed last, `problem_of` the offer it is about (None: about the looking).
    """

    changed = Signal()
    got = Signal(object)

    def __init__(self, setup: Setup, gpus: Callable[[], Sequence[Gpu]], parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._setup = setup
        self._gpus = gpus
        self.offers: tuple[Offer, ...] | None = None
        self.current: Offer | None = None
        self.step: Step | None = None
        self.problem = ""
        self.problem_of: Offer | None = None
        self._told_at_s = 0.0
        self._looking = Asking(self._looked)
        self._getting = Asking(self._ended)

    @property
    def is_looking(self) -> bool:
        return self._looking.is_running

    def look(self) -> None:
        """Ask the source of engines what there is for this machine."""
        self._set_problem("")
        self._looking.start(self._look)
        self.changed.emit()

    def get(self, offer: Offer) -> None:
        """Begin to get it, or go on with it."""
        self._set_problem("")
        self.current, self.step = offer, None
        self._getting.start(lambda: self._get(offer))
        self.changed.emit()

    def cancel(self) -> None:
        """Give up what is under way; what has been downloaded is kept for the next time."""
        self._looking.cancel()
        self._getting.cancel()

    def is_there(self, offer: Offer) -> bool:
        """Whether this very one is among the engines already."""
        return any(engine.folder.name == offer.id for engine in fetched_engines(self._setup.paths))

    @property
    def source(self) -> str:
        """Whom `look` asks."""
        return self._setup.settings.engine_source_url

    def is_begun(self, offer: Offer) -> bool:
        """Whether some of it is there from an earlier try."""
        return fetched_already_bytes(offer, self._setup.paths) > 0

    async def _look(self) -> None:
        self.offers = await find_offers(self._gpus(), self._setup.settings)

    async def _get(self, offer: Offer) -> None:
        engine = await get(offer, self._setup.paths, self._setup.settings, self._tell)
        self.got.emit(engine.folder)

    def _tell(self, step: Step) -> None:
        """Now and then: the news come a thousand times a second."""
        now_s = time.monotonic()
        is_new = self.step is None or step.words != self.step.words
        self.step = step
        if is_new or now_s - self._told_at_s >= _SHOW_INTERVAL_S:
            self._told_at_s = now_s
            self.changed.emit()

    def _looked(self, error: str) -> None:
        self._set_problem(error)
        self.changed.emit()

    def _ended(self, error: str) -> None:
        offer, self.current, self.step = self.current, None, None
        self._set_problem(error, offer)
        self.changed.emit()

    def _set_problem(self, text: str, offer: Offer | None = None) -> None:
        self.problem, self.problem_of = tr(text) if text else "", offer
