from __future__ import annotations

import pytest
from PySide6.QtCore import QMargins, QRect, QSize

from launchdeck.ui.window.fitting import fitted, largest, screens
from launchdeck.ui.window.main_window import SMALLEST, USUAL

FRAME = QMargins(1, 30, 1, 1)
LAPTOP, DESK = QRect(0, 0, 1280, 720), QRect(1280, 24, 2560, 1416)


@pytest.mark.parametrize(
    ("wanted", "screen", "size"),
    [
        (USUAL, LAPTOP, (1278, 689)),
        (USUAL, DESK, USUAL),
        (USUAL, QRect(0, 0, 1440, 900), (1438, 869)),
        (SMALLEST, QRect(0, 0, 960, 540), (958, 509)),
    ],
)
def test_a_size_is_what_the_screen_has_room_for(wanted, screen, size):
    assert largest(QSize(*wanted), screen, FRAME) == QSize(*size)


@pytest.mark.parametrize(
    ("wanted", "place"),
    [
        (QRect(100, 60, 1000, 620), QRect(100, 60, 1000, 620)),  # as it was
        (QRect(100, 60, 1440, 900), QRect(1, 30, 1278, 689)),  # too large
        (QRect(900, 500, 1000, 620), QRect(279, 99, 1000, 620)),  # half of it outside
        (QRect(-300, -200, 1000, 620), QRect(1, 30, 1000, 620)),
        (QRect(9000, 9000, 1000, 620), QRect(279, 99, 1000, 620)),  # its screen is gone: the primary one
    ],
)
def test_a_place_of_before_is_one_on_the_screen(wanted, place):
    assert fitted(wanted, (LAPTOP,), FRAME) == place


def test_of_several_screens_it_is_the_one_that_has_most_of_it():
    assert fitted(QRect(1200, 100, 1440, 900), (LAPTOP, DESK), FRAME) == QRect(1281, 100, 1440, 900)


def test_without_a_screen_nothing_is_fitted():
    assert screens() == (), "these tests have none"
    assert largest(QSize(*USUAL), None) == QSize(*USUAL)
    assert fitted(QRect(0, 0, 9000, 9000), ()) == QRect(0, 0, 9000, 9000)
