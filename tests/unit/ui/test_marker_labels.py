"""Labels stay inside the chart and never lie over each other."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from launchdeck.ui.charts.marker_labels import GAP_PX, place_labels


def test_a_label_stands_right_of_its_line():
    assert place_labels([100], [80], 700, 3) == [(100 + GAP_PX, 0)]


def test_near_the_right_edge_it_stands_left_of_it():
    assert place_labels([690], [80], 700, 3) == [(690 - GAP_PX - 80, 0)]


def test_lines_close_together_have_their_labels_in_rows():
    assert place_labels([690, 692, 694], [80, 80, 80], 700, 3) == [(605, 2), (607, 1), (609, 0)]


def test_what_has_no_room_has_no_label_and_the_latest_has_one():
    assert place_labels([690, 691], [80, 80], 700, 1) == [None, (606, 0)]
    assert place_labels([30], [80], 60, 1) == [None]


lines = st.lists(st.tuples(st.floats(0, 700), st.integers(1, 280)), max_size=40)


@settings(deadline=None)
@given(lines, st.integers(0, 4))
def test_no_two_labels_overlap_and_none_leaves_the_chart(marked: list[tuple[float, int]], row_count: int):
    marked.sort()
    places = place_labels([line for line, _ in marked], [width for _, width in marked], 700, row_count)
    boxes = [(*spot, width) for spot, (_, width) in zip(places, marked, strict=True) if spot is not None]
    for left, row, width in boxes:
        assert left >= 0
        assert left + width <= 700
        assert row < row_count
    for at, (left, row, width) in enumerate(boxes):
        for other_left, other_row, other_width in boxes[at + 1 :]:
            assert row != other_row or left + width <= other_left or other_left + other_width <= left
