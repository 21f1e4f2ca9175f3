"""A window's place on the screens of today: none of it lies outside, and Deploy is always in sight."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QMargins, QPoint, QRect, QSize
from PySide6.QtGui import QGuiApplication

if TYPE_CHECKING:
    from collections.abc import Sequence

FRAME = QMargins(2, 40, 2, 8)
"""Room for the frame, which nobody can ask for before the window is shown. Few are thicker."""
_PRETENDED = frozenset({"offscreen", "minimal"})  # platforms that have no screen


def screens() -> tuple[QRect, ...]:
    """Give what windows may use of each screen, without panels, the primary one first; none where none is real."""
    if QGuiApplication.platformName() in _PRETENDED:
        return ()
    primary = QGuiApplication.primaryScreen()
    every = sorted(QGuiApplication.screens(), key=lambda screen: screen is not primary)
    return tuple(screen.availableGeometry() for screen in every)


def largest(wanted: QSize, screen: QRect | None, frame: QMargins = FRAME) -> QSize:
    """Give the size, or as much of it as the screen has room for."""
    return wanted if screen is None else wanted.boundedTo(screen.marginsRemoved(frame).size())


def fitted(wanted: QRect, available: Sequence[QRect], frame: QMargins = FRAME) -> QRect:
    """Give the place that is wanted for a window without its frame, moved and made smaller until its screen has it."""
    if not available:
        return wanted
    screen = max(available, key=lambda each: _area(each.intersected(wanted)))  # of equal ones the first
    room = screen.marginsRemoved(frame)
    size = wanted.size().boundedTo(room.size())
    x = min(max(wanted.x(), room.left()), room.right() + 1 - size.width())
    y = min(max(wanted.y(), room.top()), room.bottom() + 1 - size.height())
    return QRect(QPoint(x, y), size)


def _area(rectangle: QRect) -> int:
    return rectangle.width() * rectangle.height() if rectangle.isValid() else 0
