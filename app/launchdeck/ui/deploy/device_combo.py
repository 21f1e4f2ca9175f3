"""The choice of where a model runs: one GPU, several, RPC workers, or the CPU."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from PySide6.QtCore import QEvent, QObject, QPointF, QSize, Qt, Signal
from PySide6.QtGui import QColor, QIcon, QKeyEvent, QMouseEvent, QPainter, QPixmap, QStandardItem, QStandardItemModel
from PySide6.QtWidgets import QStyleOptionViewItem, QWidget

from launchdeck.domain.gpu import PlannedGpu
from launchdeck.ui.kit.format import gib, not_measurable
from launchdeck.ui.kit.i18n import tr
from launchdeck.ui.kit.names import is_usable, short_name, why_not_ours
from launchdeck.ui.kit.theme import tokens
from launchdeck.ui.kit.trailing_combo import TRAILING_ROLE, TrailingCombo

if TYPE_CHECKING:
    from collections.abc import Sequence

    from launchdeck.domain.gpu import GpuReading, Inventory

_DOT_PX = 10
_CPU_KEY = "cpu"  # the uuid that the CPU has in an inventory; of a GPU it is its own


@dataclass(frozen=True, slots=True)
class DeviceEntry:
    """A device that can be chosen. `gpu` is None for the CPU and for RPC workers; what was chosen and is not there is
    `missing`. `hint`: why it cannot be chosen; `ours` is False for a GPU that is hidden from Launchdeck.
    """

    key: str
    text: str
    free_bytes: int | None = None
    gpu: PlannedGpu | None = None
    rpc_worker: str | None = None
    usable: bool = True
    hint: str = ""
    ours: bool = True
    missing: bool = False

    @property
    def is_cpu(self) -> bool:
        return self.gpu is None and self.rpc_worker is None


def device_entries(inventory: Inventory, rpc_workers: tuple[str, ...]) -> tuple[DeviceEntry, ...]:
    """All GPUs in their order, the RPC workers, and the CPU."""
    gpus = tuple(_gpu_entry(reading) for reading in inventory.gpus)
    workers = tuple(DeviceEntry(f"rpc:{name}", f"RPC {name}", rpc_worker=name) for name in rpc_workers)
    return (*gpus, *workers, DeviceEntry(_CPU_KEY, "CPU", inventory.cpu.sample.free_memory_bytes))


class DeviceCombo(TrailingCombo):
    """A click on an entry chooses it alone; its check box (or Space) adds it to the others or takes it away.

    A GPU that was chosen stays in the list while it is not there, until another one is: it is the user's to say where a
    model runs instead.
    """

    chosen = Signal()
    shown = Signal(object)  # a frozenset of the keys of what is chosen, whoever chose it

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__("GPU", parent)
        self._offered: tuple[DeviceEntry, ...] = ()
        self._entries: tuple[DeviceEntry, ...] = ()
        self._keys: tuple[str, ...] = ()
        self._items = QStandardItemModel(self)
        self.setModel(self._items)
        self.setIconSize(QSize(_DOT_PX, _DOT_PX))
        self.setToolTip(tr("Tick several to split the model over them"))
        self.activated.connect(self._take_alone)

    def make_list(self) -> None:
        super().make_list()
        self.view().installEventFilter(self)
        self.view().viewport().installEventFilter(self)

    def set_entries(self, entries: tuple[DeviceEntry, ...]) -> None:
        """Offer these. What was chosen stays; at first nothing is chosen."""
        gpus = [entry.gpu for entry in self.entries() if entry.gpu is not None]
        self._offered = entries
        self._relist(gpus)
        self._keys = tuple(entry.key for entry in self._entries if entry.key in self._keys)
        self._show()

    def entries(self) -> tuple[DeviceEntry, ...]:
        """The chosen ones, in the order of the list."""
        return tuple(entry for entry in self._entries if entry.key in self._keys)

    def choose(self, gpus: Sequence[PlannedGpu], rpc_workers: tuple[str, ...] = ()) -> None:
        """Choose these (nothing at all: the CPU) without telling anybody; a worker that is not offered is left out."""
        self._relist(gpus)
        wanted = {*(gpu.uuid for gpu in gpus), *(f"rpc:{worker}" for worker in rpc_workers)}
        found = tuple(entry.key for entry in self._entries if entry.key in wanted)
        self._keys = (found if self._offered else tuple(wanted)) if wanted else (_CPU_KEY,)
        self._show()

    def forget(self) -> None:
        """Choose nothing: whoever plans may choose."""
        self._keys = ()
        self._forget_missing()
        self._show()

    def toggle(self, row: int) -> None:
        """Add this entry to the chosen ones, or take it away; the CPU stands alone, and the last one stays."""
        entry = self._entries[row]
        if entry.is_cpu or not (entry.usable or entry.key in self._keys):
            return
        others = tuple(key for key in self._keys if key not in {entry.key, _CPU_KEY})
        self._keys = others if entry.key in self._keys and others else (*others, entry.key)
        self._forget_missing()
        self._show()
        self.chosen.emit()

    def use(self, key: str, *, used: bool) -> None:
        """Do as if the user had ticked it in the list, or had taken the tick away; the CPU is used alone."""
        row = next((row for row, entry in enumerate(self._entries) if entry.key == key), None)
        if row is None or used is (key in self._keys):
            return
        if self._entries[row].is_cpu:
            self._take_alone(row)
        else:
            self.toggle(row)

    def changeEvent(self, event: QEvent) -> None:
        """The dots are pictures in the theme's colours."""
        super().changeEvent(event)
        if event.type() == QEvent.Type.PaletteChange:
            self._show()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """In the list: a click on a check box and the Space key leave it open."""
        if isinstance(event, QMouseEvent) and event.type() == QEvent.Type.MouseButtonRelease:
            index = self.view().indexAt(event.position().toPoint())
            if index.isValid() and self._check_box_width() > event.position().x():
                self.toggle(index.row())
                return True
        if isinstance(event, QKeyEvent) and event.type() == QEvent.Type.KeyPress and event.key() == Qt.Key.Key_Space:
            self.toggle(self.view().currentIndex().row())
            return True
        return super().eventFilter(watched, event)

    def _take_alone(self, row: int) -> None:
        self._keys = (self._entries[row].key,)
        self._forget_missing()
        self._show()
        self.chosen.emit()

    def _forget_missing(self) -> None:
        self._relist([entry.gpu for entry in self.entries() if entry.gpu is not None])

    def _relist(self, gpus: Sequence[PlannedGpu]) -> None:
        """List what is offered, and those of these GPUs that are not."""
        offered = {entry.key for entry in self._offered}
        missing = (_missing_entry(gpu, offered=bool(offered)) for gpu in gpus if gpu.uuid not in offered)
        entries = (*self._offered, *missing)
        same = [(entry.key, entry.missing) for entry in entries] == [(e.key, e.missing) for e in self._entries]
        self._entries = entries
        if not same:
            self._items.clear()
            for entry in entries:
                self._items.appendRow(_item(entry))

    def _check_box_width(self) -> int:
        from PySide6.QtWidgets import QStyle  # noqa: PLC0415 (its enums take 10 ms, and the first frame needs none)

        option = QStyleOptionViewItem()
        option.initFrom(self.view())
        return self.style().pixelMetric(QStyle.PixelMetric.PM_IndicatorWidth, option, self.view()) + 2 * _DOT_PX

    def _show(self) -> None:
        for row, entry in enumerate(self._entries):
            _fill(self._items.item(row), entry, checked=entry.key in self._keys)
        chosen = self.entries()
        first = next((row for row, entry in enumerate(self._entries) if entry.key in self._keys), -1)
        self.setCurrentIndex(first)
        self.set_shown_text(" + ".join(entry.text for entry in chosen))
        frees = [entry.free_bytes for entry in chosen]
        known = [free for free in frees if free is not None]
        self.set_trailing(_free_text(sum(known)) if len(known) == len(frees) and known else "")
        self.setAccessibleDescription(", ".join(map(_described, chosen)))
        self.shown.emit(frozenset(self._keys))


def _gpu_entry(reading: GpuReading) -> DeviceEntry:
    gpu, sample = reading.gpu, reading.sample
    return DeviceEntry(
        gpu.uuid,
        f"{gpu.index} {gpu.name}",
        sample.free_memory_bytes,
        gpu=PlannedGpu.of(gpu),
        usable=is_usable(reading),
        hint=why_not_ours(gpu) or ("" if gpu.problem is None else tr(gpu.problem)),
        ours=gpu.ours,
    )


def _missing_entry(gpu: PlannedGpu, *, offered: bool) -> DeviceEntry:
    """Before anything is offered nobody can say that it is not there."""
    if not gpu.is_identified:
        text = tr("GPU {index}, to be chosen again", index=gpu.index)
    elif offered:
        text = tr("{name}, not there", name=short_name(gpu) or gpu.uuid)  # the name must not hide the rest
    else:
        text = gpu.name or gpu.uuid
    return DeviceEntry(gpu.uuid, text, gpu=gpu, usable=False, missing=True)


def _free_text(free_bytes: int | None) -> str:
    return not_measurable() if free_bytes is None else tr("{gib} free", gib=gib(free_bytes))


def _described(entry: DeviceEntry) -> str:
    return entry.text if entry.missing else f"{entry.text} {_free_text(entry.free_bytes)}"


def _item(entry: DeviceEntry) -> QStandardItem:
    item = QStandardItem(entry.text)
    item.setCheckable(not entry.is_cpu)
    return item


def _fill(item: QStandardItem, entry: DeviceEntry, *, checked: bool) -> None:
    item.setEnabled(entry.usable)
    item.setText(entry.text)
    item.setToolTip(entry.hint)
    if entry.gpu is not None and not entry.missing:
        item.setIcon(_dot(tokens().curve(entry.gpu.index)))
    free = "" if entry.rpc_worker or entry.missing else _free_text(entry.free_bytes)
    item.setData(free if entry.ours else tr("not ours"), TRAILING_ROLE)
    if not entry.is_cpu:
        item.setCheckState(Qt.CheckState.Checked if checked else Qt.CheckState.Unchecked)


def _dot(color: str) -> QIcon:
    pixmap = QPixmap(2 * _DOT_PX, 2 * _DOT_PX)
    pixmap.setDevicePixelRatio(2)
    pixmap.fill(Qt.GlobalColor.transparent)
    painter = QPainter(pixmap)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(QColor(color))
    painter.drawEllipse(QPointF(_DOT_PX / 2, _DOT_PX / 2), _DOT_PX / 2, _DOT_PX / 2)
    painter.end()
    return QIcon(pixmap)
