"""What was measured in the last 24 hours, in memory, and how charts get as many points as they can show."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from launchdeck.domain.gpu import GpuSample, Inventory
from launchdeck.domain.units import GIB

METRICS: Final = ("vram_gib", "utilization_percent", "temperature_c", "power_watts")
_ROWS: Final = {metric: row for row, metric in enumerate(METRICS)}

_SPAN_S: Final = 86_400.0
_SHORTEST_INTERVAL_S: Final = 1.0
_GAP_INTERVALS: Final = 2.5

_Number = TypeVar("_Number", bound=np.generic)
Times = NDArray[np.float64]
Values = NDArray[np.float32]
Rows = tuple[Times, Values]
"""Of one device: when it was measured (Unix seconds, ascending), and a row for every metric."""


class History:
    """A ring buffer for every device, by its UUID: 24 hours at the sampling interval, at most 86,400 points.

    A missing reading, a lost or sleeping GPU and a pause of more than 2.5 intervals leave a gap (NaN).
    """

    def __init__(self, interval_s: float) -> None:
        self._interval_s = interval_s
        self._rings: dict[str, _Ring] = {}

    def set_interval_s(self, interval_s: float) -> None:
        """From now on samples come at this interval. What is held stays."""
        self._interval_s = interval_s
        self._rings = {uuid: ring.grown(self._capacity) for uuid, ring in self._rings.items()}

    def append(self, inventory: Inventory) -> None:
        """Keep one sample of every GPU and of the CPU."""
        for reading in (*inventory.gpus, inventory.cpu):
            ring = self._rings.get(reading.gpu.uuid)
            if ring is None:
                ring = self._rings[reading.gpu.uuid] = _Ring(self._capacity)
            self._append(ring, reading.sample)

    def rows(self, now_s: float) -> dict[str, Rows]:
        """All that was measured in the last 24 hours, by the device's UUID; a copy that any thread may keep."""
        rows = {uuid: _cut(*ring.rows(), now_s - _SPAN_S, math.inf) for uuid, ring in self._rings.items()}
        return {uuid: (times.copy(), values.copy()) for uuid, (times, values) in rows.items() if len(times)}

    def restore(self, kept: Mapping[str, Rows], now_s: float) -> None:
        """Begin with what `rows` gave in an earlier run, as far as it is not too old. Before the first sample."""
        for uuid, rows in kept.items():
            times, values = _cut(*rows, now_s - _SPAN_S, now_s)
            if len(times):
                self._rings[uuid] = _Ring(max(self._capacity, len(times)), times, values)

    def series(
        self, uuid: str, metric: str, since_s: float, until_s: float, buckets: int | None = None
    ) -> tuple[Times, Values]:
        """Times (Unix seconds) and values of one curve, at most about 3 points a bucket; NaN where the line breaks.

        More points than twice the buckets are thinned out: of each bucket the smallest and the largest value stay,
        so that no peak is lost. Without a number of buckets every point stays. Empty for a device never seen.

        Raises:
            KeyError: there is no such metric.
        """
        row = _ROWS[metric]
        ring = self._rings.get(uuid)
        if ring is None:
            return np.empty(0), np.empty(0, np.float32)
        times, values = _cut(*ring.ordered(row), since_s, until_s)
        if buckets is None or len(times) <= 2 * buckets:
            return times.copy(), values.copy()
        return _thin_out(times, values, (until_s - since_s) / buckets)

    @property
    def _capacity(self) -> int:
        return math.ceil(_SPAN_S / max(self._interval_s, _SHORTEST_INTERVAL_S))

    def _append(self, ring: _Ring, sample: GpuSample) -> None:
        ring.forget_from(sample.sampled_at_s)
        last_s = ring.last_s
        if last_s is not None and sample.sampled_at_s - last_s > _GAP_INTERVALS * self._interval_s:
            ring.append(last_s + self._interval_s, (math.nan,) * len(METRICS))
        ring.append(sample.sampled_at_s, _row(sample))


class _Ring:
    """The last `capacity` rows. Memory that has not been written to costs nothing (numpy's empty)."""

    def __init__(self, capacity: int, times: Times | None = None, values: Values | None = None) -> None:
        """Begins with these rows, at most `capacity`, or none."""
        self._times: Times = np.empty(capacity)
        self._values: Values = np.empty((len(METRICS), capacity), np.float32)
        self._count = 0
        if times is not None and values is not None:
            self._count = len(times)
            self._times[: self._count], self._values[:, : self._count] = times, values
        self._next = self._count % capacity

    @property
    def last_s(self) -> float | None:
        return float(self._times[self._next - 1]) if self._count else None

    def append(self, time_s: float, row: tuple[float, ...]) -> None:
        self._times[self._next] = time_s
        self._values[:, self._next] = row
        self._next = (self._next + 1) % len(self._times)
        self._count = min(self._count + 1, len(self._times))

    def forget_from(self, time_s: float) -> None:
        """Drop what was measured at this time or later: the clock has been set back, and times have to ascend."""
        while self._count and self._times[self._next - 1] >= time_s:
            self._next = (self._next - 1) % len(self._times)
            self._count -= 1

    def ordered(self, row: int) -> Rows:
        """Times and the values of one metric, the oldest first."""
        return self._unrolled(self._times), self._unrolled(self._values[row])

    def rows(self) -> Rows:
        """Times and the values of all metrics, the oldest first."""
        return self._unrolled(self._times), self._unrolled(self._values)

    def grown(self, capacity: int) -> _Ring:
        """With room for so many rows; a ring never shrinks, because that would throw measurements away."""
        return self if capacity <= len(self._times) else _Ring(capacity, *self.rows())

    def _unrolled(self, array: NDArray[_Number]) -> NDArray[_Number]:
        start = (self._next - self._count) % array.shape[-1]
        if start < self._next or not self._count:
            return array[..., start : self._next]
        return np.concatenate((array[..., start:], array[..., : self._next]), axis=-1)


def _cut(times: Times, values: Values, since_s: float, until_s: float) -> Rows:
    """What lies in this time; the end is exclusive."""
    first, end = np.searchsorted(times, (since_s, until_s))
    return times[first:end], values[..., first:end]


def _row(sample: GpuSample) -> tuple[float, ...]:
    used_bytes = sample.used_memory_bytes
    readings = (
        None if used_bytes is None else used_bytes / GIB,
        sample.utilization_percent,
        sample.temperature_c,
        sample.power_watts,
    )
    return tuple(math.nan if reading is None else reading for reading in readings)


def _thin_out(times: Times, values: Values, width_s: float) -> tuple[Times, Values]:
    """Smallest and largest value of every bucket, and a NaN behind a bucket where the line breaks.

    Buckets begin at multiples of their width, so that a curve keeps its shape while the window moves over it.
    """
    numbers = np.floor(times / width_s)
    starts = np.flatnonzero(np.diff(numbers, prepend=-np.inf))
    ends = np.append(starts[1:], len(times)) - 1
    missing = np.isnan(values)
    breaks = missing[ends]
    breaks[:-1] |= missing[starts[1:]]
    points = np.empty((len(starts), 3), np.float32)
    points[:, 0] = np.fmin.reduceat(values, starts)
    points[:, 1] = np.fmax.reduceat(values, starts)
    points[:, 2] = np.nan
    kept = np.ones(points.shape, bool)
    kept[:, 2] = breaks
    spread = np.stack((times[starts], times[starts], times[ends]), axis=1)
    return spread[kept], points[kept]
