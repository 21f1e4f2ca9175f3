"""Two sizes and two weights of one font, with digits of equal width; and a fixed-width font for commands and logs."""

from __future__ import annotations

import logging
from functools import cache, lru_cache

from PySide6.QtCore import Qt
from PySide6.QtGui import QFont, QFontDatabase, QFontMetrics

from launchdeck.resources import resource

_log = logging.getLogger(__name__)

TEXT_PX = 13
SMALL_PX = 12
FAMILY = "Launchdeck Sans"


def load() -> None:
    """Make the application's own fonts known to Qt. Without them the system's font serves."""
    if FAMILY in QFontDatabase.families():
        return
    for path in sorted(resource("fonts").glob("*.otf")):
        if QFontDatabase.addApplicationFont(str(path)) < 0:
            _log.warning("The font %s cannot be used", path)


def text_font(*, bold: bool = False) -> QFont:
    """The font of most text."""
    return QFont(_font(TEXT_PX, bold))


def small_font(*, bold: bool = False) -> QFont:
    """The font of what stands beside: units, legends, notes."""
    return QFont(_font(SMALL_PX, bold))


@lru_cache(maxsize=512)
def small_width_px(text: str, *, bold: bool = False) -> int:
    """How wide `text` is in the small font; remembered, because every repaint asks for the same few."""
    return _metrics(bold).horizontalAdvance(text)


@lru_cache(maxsize=512)
def small_elided(text: str, width_px: int) -> str:
    """As much of `text` as there is room for in the small font; what is left out of its middle is told by "…"."""
    return _metrics(False).elidedText(text, Qt.TextElideMode.ElideMiddle, width_px)


def small_height_px() -> int:
    """The height of a line in the small font."""
    return _metrics(False).height()


def mono_font() -> QFont:
    """The font of commands and logs."""
    font = QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont)
    font.setPixelSize(SMALL_PX)
    return font


@cache
def _font(size_px: int, bold: bool) -> QFont:  # noqa: FBT001
    font = QFont(QFontDatabase.systemFont(QFontDatabase.SystemFont.GeneralFont))
    font.setFamilies([FAMILY, *font.families()])
    font.setPixelSize(size_px)
    font.setWeight(QFont.Weight.DemiBold if bold else QFont.Weight.Normal)
    font.setFeature(QFont.Tag("tnum"), 1)  # tabular figures: nothing jumps when a value changes
    return font


@cache
def _metrics(bold: bool) -> QFontMetrics:  # noqa: FBT001
    return QFontMetrics(_font(SMALL_PX, bold))
