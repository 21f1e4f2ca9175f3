"""Numbers as people read them: a unit after a space, "Not measurable" for what is None, thousands separated."""

from __future__ import annotations

from launchdeck.domain.units import GIB
from launchdeck.ui.kit.i18n import tr


def not_measurable() -> str:
    """What stands where a value is missing."""
    return tr("Not measurable")


def gib(size_bytes: float | None, decimals: int = 1) -> str:
    """GiB without the unit: "11.4"."""
    return not_measurable() if size_bytes is None else f"{size_bytes / GIB:,.{decimals}f}"


def gib_with_unit(size_bytes: float | None, decimals: int = 1) -> str:
    """As in "11.4 GiB"."""
    return not_measurable() if size_bytes is None else f"{gib(size_bytes, decimals)} GiB"


def gib_capacity(size_bytes: float | None) -> str:
    """The size of a whole memory, where ".0" tells nothing: "24"."""
    return gib(size_bytes).removesuffix(".0")


def percent(value: float | None) -> str:
    """As in "43 %"."""
    return not_measurable() if value is None else f"{value:.0f} %"


def celsius(value: float | None) -> str:
    """As in "61 °C"."""
    return not_measurable() if value is None else f"{value:.0f} °C"


def watts(value: float | None) -> str:
    """As in "212 W"."""
    return not_measurable() if value is None else f"{value:.0f} W"


def megahertz(value: float | None) -> str:
    """As in "2,520 MHz"."""
    return not_measurable() if value is None else f"{value:,.0f} MHz"


def count(value: int | None) -> str:
    """As in "8,192"."""
    return not_measurable() if value is None else f"{value:,}"


def duration(seconds: float) -> str:
    """The two largest units: "42 s", "5 min 3 s", "1 h 5 min", "2 d 4 h"."""
    whole_s = max(0, round(seconds))
    minutes, s = divmod(whole_s, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return tr("{days} d {hours} h", days=days, hours=hours)
    if hours:
        return tr("{hours} h {minutes} min", hours=hours, minutes=minutes)
    if minutes:
        return tr("{minutes} min {seconds} s", minutes=minutes, seconds=s)
    return tr("{seconds} s", seconds=s)
