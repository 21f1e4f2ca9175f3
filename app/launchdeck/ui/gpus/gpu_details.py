"""All that is known of a device, below its card: every value, and who holds its memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtWidgets import QLabel, QVBoxLayout, QWidget

from launchdeck.domain.gpu import GpuType
from launchdeck.ui.gpus.gpu_cores import GpuCores
from launchdeck.ui.gpus.memory_share import held_bytes, other_processes, others_bytes
from launchdeck.ui.kit import format as number
from launchdeck.ui.kit.i18n import tr
from launchdeck.ui.kit.model_colors import model_color
from launchdeck.ui.kit.value_rows import ValueRow, ValueRows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from launchdeck.domain.deployment import Deployment
    from launchdeck.domain.gpu import GpuProcess, GpuReading

_MOST_PROCESSES = 8


class GpuDetails(QWidget):
    """Follows one device."""

    def __init__(self) -> None:
        super().__init__()
        self._values = ValueRows()
        self._holders = ValueRows(long_names=True)
        self._heading = _heading(tr("Memory by process"))
        self._cores = GpuCores()
        self._cores_heading = _heading(tr("Load per core"))
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 2, 0, 0)
        column.setSpacing(8)
        for widget in (self._values, self._cores_heading, self._cores, self._heading, self._holders):
            column.addWidget(widget)

    @property
    def rows(self) -> tuple[tuple[str, str], ...]:
        """The names and values shown, and then the holders of the memory."""
        return tuple((row.name, row.value) for rows in (self._values, self._holders) for row in rows.rows)

    def show_reading(self, reading: GpuReading, deployments: Sequence[Deployment]) -> None:
        """A new sample, or other deployments."""
        holders = [*_ours(reading, deployments), *_others(reading, deployments)]
        self._values.show_rows(_values(reading))
        self._holders.show_rows(holders)
        self._heading.setVisible(bool(holders))
        self._cores.show_percents(reading.sample.core_percents)
        for widget in (self._cores_heading, self._cores):
            widget.setVisible(bool(reading.sample.core_percents))


def _heading(text: str) -> QLabel:
    label = QLabel(text)
    label.setProperty("role", "small")
    return label


def _values(reading: GpuReading) -> list[ValueRow]:
    """A CPU has no more than its load, in all and of each core, and the RAM."""
    gpu, sample = reading.gpu, reading.sample
    values: list[tuple[str, object, str]] = [
        (tr("Memory used"), sample.used_memory_bytes, number.gib_with_unit(sample.used_memory_bytes)),
        (tr("Memory free"), sample.free_memory_bytes, number.gib_with_unit(sample.free_memory_bytes)),
        (tr("Total memory"), gpu.total_memory_bytes, number.gib_with_unit(gpu.total_memory_bytes)),
        (tr("Utilization"), sample.utilization_percent, number.percent(sample.utilization_percent)),
    ]
    if gpu.gpu_type is not GpuType.CPU:
        values += [
            (tr("Temperature"), sample.temperature_c, number.celsius(sample.temperature_c)),
            (tr("Power"), sample.power_watts, number.watts(sample.power_watts)),
            (tr("Power limit"), sample.power_limit_watts, number.watts(sample.power_limit_watts)),
            (tr("Graphics clock"), sample.graphics_clock_mhz, number.megahertz(sample.graphics_clock_mhz)),
            (tr("Memory clock"), sample.memory_clock_mhz, number.megahertz(sample.memory_clock_mhz)),
            (tr("Fan"), sample.fan_percent, number.percent(sample.fan_percent)),
            (tr("Driver"), gpu.driver_version, gpu.driver_version or number.not_measurable()),
            (tr("PCI address"), gpu.pci_address, gpu.pci_address or number.not_measurable()),
            ("UUID", gpu.uuid, gpu.uuid),
        ]
    return [ValueRow(label, text, missing=value is None) for label, value, text in values]


def _ours(reading: GpuReading, deployments: Sequence[Deployment]) -> list[ValueRow]:
    held = [(deployment, held_bytes(reading, deployment)) for deployment in deployments]
    return [
        ValueRow(deployment.plan.model_id, number.gib_with_unit(size_bytes), model_color(deployment.id))
        for deployment, size_bytes in held
        if size_bytes
    ]


def _others(reading: GpuReading, deployments: Sequence[Deployment]) -> list[ValueRow]:
    """By name where the driver lists them, as one sum where it does not."""
    processes = other_processes(reading, deployments)
    if not processes:
        size_bytes = others_bytes(reading, deployments)
        return [ValueRow(tr("Other processes"), number.gib_with_unit(size_bytes))] if size_bytes else []
    rows = [_row(process) for process in processes[:_MOST_PROCESSES]]
    if more := processes[_MOST_PROCESSES:]:
        size_bytes = sum(process.used_memory_bytes or 0 for process in more)
        rows.append(ValueRow(tr("{count} more", count=len(more)), number.gib_with_unit(size_bytes)))
    return rows


def _row(process: GpuProcess) -> ValueRow:
    size_bytes = process.used_memory_bytes
    name = f"{process.name} ({process.pid})" if process.name else f"PID {process.pid}"
    return ValueRow(name, number.gib_with_unit(size_bytes), missing=size_bytes is None)
