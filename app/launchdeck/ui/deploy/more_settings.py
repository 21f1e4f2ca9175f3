"""What few launches need: a name of one's own, cache types, flash attention, split, threads, batches, experts, and how
many prompts are kept.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QSignalBlocker, Signal
from PySide6.QtWidgets import QComboBox, QFormLayout, QHBoxLayout, QLineEdit, QWidget

from launchdeck.domain.request import FlashAttention
from launchdeck.engines.llama.argv import CACHE_TYPES
from launchdeck.engines.llama.checks import MAX_BATCH, MAX_THREADS
from launchdeck.engines.llama.prompt_cache import MOST_MIB
from launchdeck.ui.deploy.preset_bar import PresetBar
from launchdeck.ui.deploy.split_field import SplitField
from launchdeck.ui.kit.i18n import tr
from launchdeck.ui.kit.number_field import NumberField
from launchdeck.ui.kit.segmented import Segmented

if TYPE_CHECKING:
    from collections.abc import Iterator

    from launchdeck.domain.model import ModelInfo
    from launchdeck.domain.request import ModelLoadRequest

DEFAULT_CACHE_TYPE = "f16"


class MoreSettings(QWidget):
    """The fields of a ModelLoadRequest that keep their defaults for most people; `chosen` carries the name of one."""

    chosen = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.presets = PresetBar()
        self.name = QLineEdit()
        self.name.setAccessibleName(tr("Name of the deployment"))
        self._cache_type_k = _cache_combo(tr("Type of the KV cache's keys"))
        self._cache_type_v = _cache_combo(tr("Type of the KV cache's values"))
        words = ((FlashAttention.AUTO, tr("auto")), (FlashAttention.ON, tr("on")), (FlashAttention.OFF, tr("off")))
        self._flash_attention = Segmented(words, tr("Flash attention"))
        self._split = SplitField()
        self._threads = _optional_number(tr("CPU threads"), MAX_THREADS)
        self._batch = _optional_number(tr("Tokens in a batch"), MAX_BATCH)
        self._ubatch = _optional_number(tr("Tokens computed at once"), MAX_BATCH)
        self._experts = NumberField(tr("Blocks whose experts stay in RAM"))
        self._cache_ram = _cache_ram_field()
        self._extra_args = QLineEdit(placeholderText="--temp 0.7 --seed 1")
        self._extra_args.setAccessibleName(tr("Extra arguments for the engine"))
        self._lay_out()
        self._connect()
        self.set_model(None)

    def set_model(self, model: ModelInfo | None) -> None:
        """Experts only where the model has some."""
        blocks = (model.block_count or 0) if model and model.expert_count else 0
        with QSignalBlocker(self._experts):
            self._experts.setRange(0, blocks)
        self._experts.setSuffix(f" / {blocks}" if blocks else "")
        self._experts.setEnabled(blocks > 0)
        self._experts.setToolTip("" if blocks else tr("This model has no experts"))

    def values(self) -> dict[str, Any]:
        """The fields of a request that are chosen here."""
        return {
            "model_id": self.name.text().strip() or None,
            "cache_type_k": self._cache_type_k.currentText(),
            "cache_type_v": self._cache_type_v.currentText(),
            "flash_attention": self._flash_attention.value(),
            "split": self._split.value(),
            "n_threads": self._threads.value() or None,
            "n_batch": self._batch.value() or None,
            "n_ubatch": self._ubatch.value() or None,
            "n_cpu_moe": self._experts.value(),
            "cache_ram_mib": None if self._cache_ram.value() < 0 else self._cache_ram.value(),
            "extra_args": _words(self._extra_args.text()),
        }

    def show_request(self, request: ModelLoadRequest) -> None:
        """Fill everything in; tells nobody."""
        self.blockSignals(True)
        self.name.setText(request.model_id or "")
        self._cache_type_k.setCurrentText(request.cache_type_k)
        self._cache_type_v.setCurrentText(request.cache_type_v)
        self._flash_attention.set_value(request.flash_attention)
        self._split.set_value(request.split)
        self._threads.setValue(request.n_threads or 0)
        self._batch.setValue(request.n_batch or 0)
        self._ubatch.setValue(request.n_ubatch or 0)
        self._experts.setValue(request.n_cpu_moe)
        self._cache_ram.setValue(-1 if request.cache_ram_mib is None else request.cache_ram_mib)
        self._extra_args.setText(shlex.join(request.extra_args))
        self.blockSignals(False)

    def wheel_fields(self) -> Iterator[QWidget]:
        """What the wheel would change."""
        yield self.presets.combo
        yield from (self._cache_type_k, self._cache_type_v, self._split.combo)
        yield from (self._threads, self._batch, self._ubatch, self._experts, self._cache_ram)

    def _lay_out(self) -> None:
        form = QFormLayout(self, horizontalSpacing=12, verticalSpacing=8)
        form.setContentsMargins(0, 4, 0, 0)
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        for label, fields in (
            (tr("Preset"), (self.presets,)),
            (tr("Name"), (self.name,)),
            (tr("KV cache, K, V"), (self._cache_type_k, self._cache_type_v)),
            (tr("Flash attention"), (self._flash_attention,)),
            (tr("Split"), (self._split,)),
            (tr("Threads"), (self._threads,)),
            (tr("Batch, at once"), (self._batch, self._ubatch)),
            (tr("Experts in RAM"), (self._experts,)),
            (tr("Prompt cache"), (self._cache_ram,)),
            (tr("Extra"), (self._extra_args,)),
        ):
            row = QHBoxLayout(spacing=8)
            for field in fields:
                row.addWidget(field)
            form.addRow(label, row)
            form.labelForField(row).setProperty("role", "muted")

    def _connect(self) -> None:
        edits = {"model_id": self.name, "extra_args": self._extra_args}
        combos = {"cache_type_k": self._cache_type_k, "cache_type_v": self._cache_type_v}
        numbers = {
            "n_threads": self._threads,
            "n_batch": self._batch,
            "n_ubatch": self._ubatch,
            "n_cpu_moe": self._experts,
            "cache_ram_mib": self._cache_ram,
        }
        signals = {
            **{name: edit.textEdited for name, edit in edits.items()},
            **{name: combo.activated for name, combo in combos.items()},
            **{name: number.valueChanged for name, number in numbers.items()},
            "flash_attention": self._flash_attention.changed,
        }
        for name, signal in signals.items():
            signal.connect(lambda _, name=name: self.chosen.emit(name))
        self._split.chosen.connect(lambda: self.chosen.emit("split"))


def _cache_combo(name: str) -> QComboBox:
    combo = QComboBox()
    combo.addItems(CACHE_TYPES)
    combo.setCurrentText(DEFAULT_CACHE_TYPE)
    combo.setAccessibleName(name)
    combo.setToolTip(name)
    return combo


def _optional_number(name: str, largest: int) -> NumberField:
    """0 leaves it to the engine."""
    field = NumberField(name, 0, largest)
    field.setSpecialValueText(tr("auto"))
    field.setToolTip(name)
    return field


def _cache_ram_field() -> NumberField:
    """Below 0 it is left to Launchdeck."""
    field = NumberField(tr("RAM in which prompts may be kept, in MiB"), -1, MOST_MIB, -1)
    field.setSpecialValueText(tr("auto"))
    field.setSuffix(" MiB")
    field.setToolTip(tr("RAM in which prompts may be kept, to be taken up again faster; 0: none"))
    return field


def _words(text: str) -> tuple[str, ...]:
    """As a shell has them. While a quote is still open it is a character like any other."""
    try:
        return tuple(shlex.split(text))
    except ValueError:
        return tuple(text.split())
