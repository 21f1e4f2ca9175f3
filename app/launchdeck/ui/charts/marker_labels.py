"""Where the labels of a chart's markers stand, so that each can be read. Pure."""

from __future__ import annotations

from collections.abc import Sequence

GAP_PX = 5


def place_labels(
    lines_px: Sequence[float], widths_px: Sequence[float], room_px: float, row_count: int
) -> list[tuple[float, int] | None]:
    """The left edge and the row (0 at the top) of each label; None where there is no room for it.

    A label stands right of its line, else left of it, else the same in the next row. The later a line, the earlier
    it is served: `lines_px` ascend, and what has just happened matters most.
    """
    placed: list[tuple[float, int] | None] = [None] * len(lines_px)
    taken: list[list[tuple[float, float]]] = [[] for _ in range(row_count)]
    for at in reversed(range(len(lines_px))):
        width = widths_px[at]
        for row, left in ((row, left) for row in range(row_count) for left in _sides(lines_px[at], width)):
            fits = left >= 0 and left + width <= room_px
            if fits and all(left + width + GAP_PX <= other or left >= end + GAP_PX for other, end in taken[row]):
                placed[at] = (left, row)
                taken[row].append((left, left + width))
                break
    return placed


def _sides(line_px: float, width_px: float) -> tuple[float, float]:
    return line_px + GAP_PX, line_px - GAP_PX - width_px
