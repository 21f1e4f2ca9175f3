"""Where a chart's axes have their marks, and what stands there. Pure."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

from launchdeck.ui.kit.i18n import tr

_STEPS_S = (15, 60, 300, 900, 3600, 4 * 3600)
_CLOCK_STEPS_S = (1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 4 * 3600)
_MOST_STEPS = 6
_MINUTE_S = 60
_HOUR_S = 3600


@dataclass(frozen=True, slots=True)
class Mark:
    """`place` is 0 at the beginning of the axis and 1 at its end."""

    place: float
    text: str


def time_marks(range_s: float) -> tuple[Mark, ...]:
    """Steps back from now; the first mark names the unit: "−5 min", "−4", ... "now"."""
    step_s = next((step for step in _STEPS_S if range_s / step <= _MOST_STEPS), _STEPS_S[-1])
    marks = [Mark(1.0, tr("now"))]
    back_s = step_s
    while back_s < range_s:
        marks.append(Mark(1 - back_s / range_s, f"−{back_s // _unit_s(range_s)}"))
        back_s += step_s
    marks.append(Mark(0.0, _with_unit(range_s)))
    return tuple(reversed(marks))


def clock_marks(since_s: float, until_s: float) -> tuple[Mark, ...]:
    """Round times of the local clock between two moments (Unix time): "14:05", "14:10"; with seconds if need be."""
    range_s = until_s - since_s
    step_s = next((step for step in _CLOCK_STEPS_S if range_s / step <= _MOST_STEPS), _CLOCK_STEPS_S[-1])
    offset_s = time.localtime(since_s).tm_gmtoff
    first = math.ceil((since_s + offset_s) / step_s) * step_s - offset_s
    pattern = "%H:%M" if step_s >= _MINUTE_S else "%H:%M:%S"
    return tuple(
        Mark((at_s - since_s) / range_s, time.strftime(pattern, time.localtime(at_s)))
        for at_s in range(first, math.floor(until_s) + 1, step_s)
    )


def axis_top(largest: float) -> float:
    """A round even number that holds `largest`, so that its half is round, too."""
    return max(2.0, 2 * math.ceil(largest / 2 - 0.01))


def value_marks(top: float) -> tuple[Mark, ...]:
    """Nothing, the half and the whole."""
    return (Mark(0.0, "0"), Mark(0.5, f"{top / 2:g}"), Mark(1.0, f"{top:g}"))


def _unit_s(range_s: float) -> int:
    if range_s <= _MINUTE_S:
        return 1
    return _MINUTE_S if range_s <= _HOUR_S else _HOUR_S


def _with_unit(range_s: float) -> str:
    count = f"{range_s / _unit_s(range_s):g}"
    match _unit_s(range_s):
        case 1:
            return tr("−{count} s", count=count)
        case 60:
            return tr("−{count} min", count=count)
        case _:
            return tr("−{count} h", count=count)
