"""What the charts show as a table: a row for every reading, a column for every curve."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from launchdeck.monitor.history import Times, Values

_SAME_ROUND_S = 0.5  # devices are read one after the other, and at most once a second


@dataclass(frozen=True, slots=True)
class Column:
    """A device's values of one metric; NaN where nothing was measured. The title names the unit."""

    title: str
    times_s: Times
    values: Values


def csv_text(columns: Sequence[Column]) -> str:
    """A row for every reading of the devices: its time (ISO 8601, UTC) and the values; a gap is an empty cell."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["time (UTC)", *(column.title for column in columns)])
    for time_s, cells in _rounds(columns):
        values = (_cell(cells.get(place, math.nan)) for place in range(len(columns)))
        writer.writerow([_iso(time_s), *values])
    return text.getvalue()


def _rounds(columns: Sequence[Column]) -> Iterator[tuple[float, dict[int, float]]]:
    """When a round of readings began, and its values by column."""
    points = sorted(
        (time_s, place, value)
        for place, column in enumerate(columns)
        for time_s, value in zip(column.times_s.tolist(), column.values.tolist(), strict=True)
    )
    begun_s, cells = -math.inf, dict[int, float]()
    for time_s, place, value in points:
        if time_s - begun_s > _SAME_ROUND_S or place in cells:
            if cells:
                yield begun_s, cells
            begun_s, cells = time_s, {}
        cells[place] = value
    if cells:
        yield begun_s, cells


def _cell(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.6g}"


def _iso(time_s: float) -> str:
    return datetime.fromtimestamp(time_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
