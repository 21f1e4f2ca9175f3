"""Arrays to lines that Qt draws. Imports numpy, so not before the first paint."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PySide6.QtCore import QByteArray, QDataStream
from PySide6.QtGui import QPolygonF

if TYPE_CHECKING:
    from numpy.typing import NDArray


def polylines(xs: NDArray[np.float64], ys: NDArray[np.float32]) -> list[QPolygonF]:
    """One line for each run of values without a NaN. A value that stands alone becomes a line of no length."""
    finite = np.isfinite(ys)
    if finite.all():
        return [_polyline(xs, ys)] if len(xs) else []
    edges = np.flatnonzero(np.diff(finite, prepend=False, append=False))
    return [_polyline(xs[begin:end], ys[begin:end]) for begin, end in edges.reshape(-1, 2)]


def _polyline(xs: NDArray[np.float64], ys: NDArray[np.float32]) -> QPolygonF:
    """By way of Qt's own stream format, a count and big-endian doubles: a hundred times as fast as point by point."""
    points = np.empty((max(len(xs), 2), 2), ">f8")
    points[:, 0], points[:, 1] = xs, ys
    polygon = QPolygonF()
    QDataStream(QByteArray(len(points).to_bytes(4, "big") + points.tobytes())) >> polygon
    return polygon
