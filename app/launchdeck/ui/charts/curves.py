"""The curves of one chart, drawn by pyqtgraph, whose import takes longer than all of Qt's: import this late."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import QRectF, Qt
from PySide6.QtWidgets import QWidget

if TYPE_CHECKING:
    from numpy.typing import NDArray


_DASH_PX = 5


class _Curve(pg.PlotCurveItem):
    """Knows what it is drawn in. Finding the bounds of the values takes pyqtgraph as long as drawing them."""

    def __init__(self, area: QRectF) -> None:
        super().__init__(antialias=True, connect="finite", skipFiniteCheck=False)
        self._area = area

    def set_area(self, area: QRectF) -> None:
        self.prepareGeometryChange()
        self._area = area

    def boundingRect(self) -> QRectF:
        return self._area


class Curves(pg.GraphicsView):
    """A transparent layer over the hairlines; the mouse belongs to what lies below.

    Items are made once for a device and then only given new data. Lines are one pixel wide: antialiased ones that are
    wider take Qt's rasteriser up to a thousand times as long. A value between two gaps becomes a short dash.
    """

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent, background=None, useOpenGL=False)
        self._items: dict[str, _Curve] = {}
        self._colors: dict[str, str] = {}
        self._area = QRectF(-1, 0, 1, 1)
        self._box = pg.ViewBox(enableMouse=False, enableMenu=False)
        self.setCentralItem(self._box)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.setViewportUpdateMode(pg.GraphicsView.ViewportUpdateMode.FullViewportUpdate)
        self.setCacheMode(pg.GraphicsView.CacheModeFlag.CacheNone)
        self.viewport().setAutoFillBackground(False)

    def set_area(self, range_s: float, lowest: float, highest: float) -> None:
        """What the layer shows: the last `range_s` seconds before the right edge, and these values."""
        self._area = QRectF(-range_s, lowest, range_s, highest - lowest)
        for item in self._items.values():
            item.set_area(self._area)
        self._box.setRange(xRange=(-range_s, 0), yRange=(lowest, highest), padding=0)

    def set_curve(self, uuid: str, color: str, offsets_s: NDArray[np.float64], values: NDArray[np.float32]) -> None:
        """Draw these values; NaN is a gap."""
        if uuid not in self._items:
            self._items[uuid] = _Curve(self._area)
            self._box.addItem(self._items[uuid], ignoreBounds=True)
        if self._colors.get(uuid) != color:
            self._colors[uuid] = color
            self._items[uuid].setPen(pg.mkPen(color, width=1))
        measured = np.isfinite(values)
        if not measured.any():
            self._items[uuid].clear()
            return
        if len(values) == 1 or not measured.all():
            dash_s = _DASH_PX * self._area.width() / max(self.width(), 1)
            offsets_s, values = _with_dashes(offsets_s, values, measured, dash_s)
        self._items[uuid].setData(offsets_s, values)

    def set_visible(self, uuid: str, visible: bool) -> None:  # noqa: FBT001
        self._items[uuid].setVisible(visible)

    def keep(self, uuids: set[str]) -> None:
        """Remove the curves of all other devices."""
        for uuid in self._items.keys() - uuids:
            self._box.removeItem(self._items.pop(uuid))
            del self._colors[uuid]


def _with_dashes(
    offsets_s: NDArray[np.float64], values: NDArray[np.float32], measured: NDArray[np.bool_], dash_s: float
) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """With a second point before each one that stands alone: of one point nothing is drawn."""
    beside = np.concatenate(([False], measured, [False]))
    alone = np.flatnonzero(measured & ~beside[:-2] & ~beside[2:])
    if not len(alone):
        return offsets_s, values
    return np.insert(offsets_s, alone, offsets_s[alone] - dash_s), np.insert(values, alone, values[alone])
