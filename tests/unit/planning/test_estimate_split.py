"""Which layers go to which device."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launchdeck.planning.llama.split import layer_ranges


@pytest.mark.parametrize(
    ("layers", "split", "expected"),
    [
        (33, (1.0,), [(0, 33)]),
        (10, (1.0,), [(23, 33)]),
        (33, (1.0, 1.0), [(0, 17), (17, 33)]),
        (2, (1.0, 1.0), [(31, 32), (32, 33)]),
        (1, (1.0, 1.0), [(32, 33), (33, 33)]),
        (33, (3.0, 1.0), [(0, 25), (25, 33)]),
        (33, (0.0, 1.0), [(0, 0), (0, 33)]),
        (33, (1.0, 0.0), [(0, 33), (33, 33)]),
        (99, (1.0, 1.0, 1.0), [(0, 11), (11, 22), (22, 33)]),
    ],
)
def test_the_last_layers_go_to_the_devices_in_order(
    layers: int, split: tuple[float, ...], expected: list[tuple[int, int]]
) -> None:
    assert list(layer_ranges(layers, 33, split)) == expected


@given(
    layers=st.integers(1, 200),
    count=st.integers(1, 200),
    split=st.lists(st.floats(0, 1e6, width=32), min_size=1, max_size=16).filter(any),
)
def test_every_layer_has_one_device(layers: int, count: int, split: list[float]) -> None:
    ranges = layer_ranges(layers, count, split)
    assert len(ranges) == len(split)
    assert ranges[0][0] == count - min(layers, count)
    assert ranges[-1][1] == count
    assert all(first <= end for first, end in ranges)
    assert all(before[1] == after[0] for before, after in pairwise(ranges))
