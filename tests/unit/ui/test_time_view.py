"""Pan and zoom: what stays in place, where they end, and when the charts follow again."""

from __future__ import annotations

import pytest

from launchdeck.ui.charts.time_view import LONGEST_S, SHORTEST_S, TimeView

NOW_S = 1_800_000_000.0
LIVE = TimeView(300.0, NOW_S)


def test_a_view_that_follows_moves_along_and_a_held_one_does_not():
    assert LIVE.advanced(NOW_S + 5) == TimeView(300.0, NOW_S + 5)
    assert LIVE.held().advanced(NOW_S + 5) == TimeView(300.0, NOW_S, following=False)


def test_panning_back_stops_following_and_panning_forth_follows_again():
    earlier = LIVE.panned(-0.5, NOW_S)
    assert earlier == TimeView(300.0, NOW_S - 150, following=False)
    assert earlier.panned(0.25, NOW_S) == TimeView(300.0, NOW_S - 75, following=False)
    assert earlier.panned(0.75, NOW_S) == LIVE


def test_nothing_older_than_a_day_is_shown():
    assert LIVE.panned(-1000, NOW_S).since_s == NOW_S - LONGEST_S


@pytest.mark.parametrize("place", [0.0, 0.3, 0.9])
@pytest.mark.parametrize("factor", [0.5, 0.8])
def test_zooming_in_keeps_what_is_under_the_pointer(place: float, factor: float):
    zoomed = LIVE.zoomed(factor, place, NOW_S)
    assert zoomed.range_s == 300 * factor
    assert zoomed.time_at(place) == pytest.approx(LIVE.time_at(place))
    assert not zoomed.following


def test_zooming_out_in_the_past_keeps_what_is_under_the_pointer():
    past = TimeView(300.0, NOW_S - 3600, following=False)
    assert past.zoomed(2, 0.25, NOW_S).time_at(0.25) == pytest.approx(past.time_at(0.25))


def test_zooming_at_the_right_edge_goes_on_following():
    assert LIVE.zoomed(0.5, 0.99, NOW_S) == TimeView(150.0, NOW_S)
    assert LIVE.zoomed(2, 0.5, NOW_S) == TimeView(600.0, NOW_S)


def test_the_range_has_its_limits():
    assert LIVE.zoomed(1e-9, 0.5, NOW_S).range_s == SHORTEST_S
    assert LIVE.zoomed(1e9, 0.5, NOW_S) == TimeView(LONGEST_S, NOW_S)


def test_back_to_now_with_this_range_or_another():
    past = LIVE.panned(-2, NOW_S)
    assert past.live(NOW_S) == LIVE
    assert past.live(NOW_S, 60.0) == TimeView(60.0, NOW_S)


def test_places_and_times_are_each_others_inverse():
    assert LIVE.place_of(LIVE.time_at(0.4)) == pytest.approx(0.4)
    assert (LIVE.place_of(NOW_S), LIVE.place_of(LIVE.since_s)) == (1, 0)
