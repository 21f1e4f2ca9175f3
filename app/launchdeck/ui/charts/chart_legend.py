"""A chart's legend: the devices with their values, each a switch for its curve."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

from PySide6.QtCore import QRect, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QColor, QPainter
from PySide6.QtWidgets import QAbstractButton, QHBoxLayout, QSizePolicy, QWidget

from launchdeck.ui.kit import fonts, theme
from launchdeck.ui.kit.i18n import tr

if TYPE_CHECKING:
    from PySide6.QtGui import QPaintEvent, QResizeEvent

_DASH_PX = 10
_GAP_PX = 5
_BETWEEN_PX = 12
_LEAST_BETWEEN_PX = 6


class Detail(IntEnum):
    """How much an entry tells: "0 RTX 4090 11.4", "0 11.4", "0", its colour alone. The rest is in its tooltip.

    Words in the place of a value ("Not measurable") are told with the full name only.
    """

    FULL = 0
    SHORT = 1
    INDEX = 2
    COLOR = 3


class Legend(QWidget):
    """Entries at the right edge, as detailed as the room allows. `toggled` carries a UUID and its visibility."""

    toggled = Signal(str, bool)

    def __init__(self, unit: str, usual_value: str, parent: QWidget | None = None) -> None:
        """`usual_value` is as wide as values usually are, and every entry keeps room for it: nothing jumps."""
        super().__init__(parent)
        self._unit = unit
        self._usual_value = usual_value
        self._entries: dict[str, LegendEntry] = {}
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self._row = QHBoxLayout(self)
        self._row.setContentsMargins(0, 0, 0, 0)
        self._row.setSpacing(_BETWEEN_PX)
        self._row.addStretch(1)

    def entries(self) -> tuple[LegendEntry, ...]:
        return tuple(self._entries.values())

    def set_devices(self, devices: list[tuple[str, int, str]]) -> None:
        """UUID, index and name of each device; which curves are hidden stays as it is."""
        hidden = {uuid for uuid, entry in self._entries.items() if not entry.isChecked()}
        for entry in self._entries.values():
            self._row.removeWidget(entry)
            entry.deleteLater()
        self._entries = {uuid: self._new_entry(uuid, index, name) for uuid, index, name in devices}
        for uuid in hidden & self._entries.keys():
            self._entries[uuid].setChecked(False)

    def set_shown(self, uuid: str, shown: bool) -> None:  # noqa: FBT001
        """Show a device as switched on or off, as another legend has it."""
        self._entries[uuid].setChecked(shown)

    def show_values(self, values: dict[str, str]) -> None:
        """A text by UUID."""
        for uuid, text in values.items():
            self._entries[uuid].show_value(text, self._unit)
        self._fit()

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._fit()

    def _new_entry(self, uuid: str, index: int, name: str) -> LegendEntry:
        entry = LegendEntry(index, name, self._usual_value)
        entry.toggled.connect(lambda shown: self.toggled.emit(uuid, shown))
        self._row.addWidget(entry)
        return entry

    def _fit(self) -> None:
        """As much detail as there is room for; before the entries lose their numbers, they move together."""
        count = max(len(self._entries), 1)
        for detail in Detail:
            needed_px = sum(entry.width_px(detail) for entry in self._entries.values())
            between_px = min((self.width() - needed_px) // count, _BETWEEN_PX)
            enough_px = _BETWEEN_PX if detail < Detail.INDEX else _LEAST_BETWEEN_PX
            if between_px >= enough_px or detail is Detail.COLOR:
                if between_px != self._row.spacing():  # setting the same lays everything out anew
                    self._row.setSpacing(max(between_px, 0))
                for entry in self._entries.values():
                    entry.set_detail(detail)
                return


class LegendEntry(QAbstractButton):
    """The curve's colour, the device, its value."""

    def __init__(self, index: int, name: str, usual_value: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._index = index
        self._name = name
        self._usual_value = usual_value
        self._value = ""
        self._detail = Detail.FULL
        self.setCheckable(True)
        self.setChecked(True)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)

    @property
    def value(self) -> str:
        """The text shown for the device's value."""
        return self._value

    def show_value(self, text: str, unit: str) -> None:
        if text == self._value:
            return
        self._value = text
        self.setAccessibleName(f"{self._name}: {text} {unit}" if self._is_number() else f"{self._name}: {text}")
        self.setToolTip(f"{self._name}  {text}\n{tr('Click to show or hide this curve')}")
        self.updateGeometry()
        self.update()

    def set_detail(self, detail: Detail) -> None:
        if detail is not self._detail:
            self._detail = detail
            self.updateGeometry()
            self.update()

    def width_px(self, detail: Detail) -> int:
        """How wide the entry is with this much detail."""
        label_px = fonts.small_width_px(self._label(detail))
        value_px = self._value_px() + _GAP_PX if self._tells_value(detail) else 0
        return _DASH_PX + (_GAP_PX + label_px if label_px else 0) + value_px

    def sizeHint(self) -> QSize:
        return QSize(self.width_px(self._detail), fonts.small_height_px() + 4)

    def minimumSizeHint(self) -> QSize:
        return self.sizeHint()

    def paintEvent(self, _event: QPaintEvent) -> None:
        tokens = theme.tokens()
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        self._paint_dash(painter)
        area = QRect(_DASH_PX + _GAP_PX, 0, self.width() - _DASH_PX - _GAP_PX, self.height())
        painter.setFont(fonts.small_font())
        painter.setPen(QColor(tokens.muted if self.isChecked() else tokens.faint))
        label = self._label(self._detail)
        painter.drawText(area, Qt.AlignmentFlag.AlignVCenter, label)
        if self._tells_value(self._detail):
            area.setLeft(area.left() + fonts.small_width_px(label) + _GAP_PX)
            painter.setFont(fonts.small_font(bold=True))
            painter.setPen(QColor(tokens.text if self.isChecked() else tokens.faint))
            painter.drawText(area, Qt.AlignmentFlag.AlignVCenter, self._value)
        if self.hasFocus():
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.setPen(QColor(tokens.accent))
            painter.drawRoundedRect(QRectF(self.rect()).adjusted(0.5, 0.5, -0.5, -0.5), 3, 3)

    def _paint_dash(self, painter: QPainter) -> None:
        """Filled for a curve that is shown, an outline for a hidden one."""
        color = QColor(theme.tokens().curve(self._index))
        dash = QRectF(0.5, self.height() / 2 - 1.5, _DASH_PX - 1, 3)
        painter.setPen(color)
        painter.setBrush(color if self.isChecked() else Qt.BrushStyle.NoBrush)
        painter.drawRoundedRect(dash, 1.5, 1.5)

    def _label(self, detail: Detail) -> str:
        if detail is Detail.COLOR:
            return ""
        return self._name if detail is Detail.FULL else self._name.split(" ", 1)[0]

    def _tells_value(self, detail: Detail) -> bool:
        return detail is Detail.FULL or (detail is Detail.SHORT and self._is_number())

    def _is_number(self) -> bool:
        return self._value[:1].isdigit()

    def _value_px(self) -> int:
        return max(fonts.small_width_px(text, bold=True) for text in (self._value, self._usual_value))
