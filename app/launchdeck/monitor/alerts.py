"""When a GPU needs its user's attention, and when it does not any more."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from launchdeck.domain.gpu import Gpu, GpuReading, GpuState, Inventory
from launchdeck.settings.schema import Settings

_HYSTERESIS: Final = 5  # percent or degrees below the limit until an alert ends
_SAMPLES_UNTIL_LOST: Final = 2  # a driver call that is late once is no reason to worry


class AlertKind(StrEnum):
    VRAM = "vram"
    TEMPERATURE = "temperature"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class Alert:
    """`value` and `limit` are percent or degrees Celsius; both 0 where the GPU is lost."""

    gpu: Gpu
    kind: AlertKind
    value: int = 0
    limit: int = 0


@dataclass(frozen=True, slots=True)
class AlertNews:
    """All alerts there are, and those among them that have just begun."""

    active: tuple[Alert, ...]
    raised: tuple[Alert, ...]


class AlertWatch:
    """Compares every reading with the limits. An alert is raised once: it begins at the limit, and ends clearly below
    it, so that a value that trembles around the limit tells nobody twice. A missing value neither begins nor ends one.
    """

    def __init__(self) -> None:
        self._active: set[tuple[str, AlertKind]] = set()
        self._unanswered: dict[str, int] = {}

    def observe(self, inventory: Inventory, settings: Settings) -> AlertNews:
        """What a new reading means."""
        before = self._active
        active = tuple(alert for reading in inventory.gpus for alert in self._of(reading, settings))
        self._active = {_key(alert) for alert in active}
        return AlertNews(active, tuple(alert for alert in active if _key(alert) not in before))

    def _of(self, reading: GpuReading, settings: Settings) -> Iterator[Alert]:
        gpu, sample = reading.gpu, reading.sample
        if self._is_lost(reading):
            yield Alert(gpu, AlertKind.LOST)
        if sample.state is GpuState.ASLEEP:
            return
        for kind, value, limit in (
            (AlertKind.VRAM, _used_percent(reading), settings.vram_alert_percent),
            (AlertKind.TEMPERATURE, sample.temperature_c, settings.temperature_alert_c),
        ):
            if limit and self._exceeds(gpu, kind, value, limit):
                yield Alert(gpu, kind, limit if value is None else value, limit)

    def _exceeds(self, gpu: Gpu, kind: AlertKind, value: int | None, limit: int) -> bool:
        was_active = (gpu.uuid, kind) in self._active
        if value is None:
            return was_active
        return value >= (limit - _HYSTERESIS if was_active else limit)

    def _is_lost(self, reading: GpuReading) -> bool:
        uuid = reading.gpu.uuid
        unanswered = 0 if reading.sample.state.answers else self._unanswered.get(uuid, 0) + 1
        self._unanswered[uuid] = unanswered
        return unanswered >= _SAMPLES_UNTIL_LOST


def _used_percent(reading: GpuReading) -> int | None:
    used_bytes, total_bytes = reading.sample.used_memory_bytes, reading.gpu.total_memory_bytes
    return round(100 * used_bytes / total_bytes) if used_bytes is not None and total_bytes else None


def _key(alert: Alert) -> tuple[str, AlertKind]:
    return alert.gpu.uuid, alert.kind
