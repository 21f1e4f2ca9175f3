"""A download's progress in words: how much, how quickly, how long yet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from launchdeck.domain.units import MIB
from launchdeck.ui.kit.format import duration, gib, gib_with_unit
from launchdeck.ui.kit.i18n import tr

if TYPE_CHECKING:
    from launchdeck.network.download import Progress


def progress_text(progress: Progress) -> str:
    """As in "0.52 / 4.10 GiB · 31.2 MiB/s · 2 min 3 s left"."""
    parts = [f"{gib(progress.done_bytes, 2)} / {gib_with_unit(progress.total_bytes, 2)}"]
    if progress.bytes_per_s is not None:
        parts.append(f"{progress.bytes_per_s / MIB:.1f} MiB/s")
    if progress.seconds_left is not None:
        parts.append(tr("{time} left", time=duration(progress.seconds_left)))
    return " · ".join(parts)
