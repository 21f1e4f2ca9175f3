from __future__ import annotations

import pytest

from launchdeck.domain.errors import Cause, Failure
from launchdeck.domain.text import Message
from launchdeck.serving.restarts import GOOD_S, Backoff, may_help


def test_fault_10_the_pauses_double_up_to_a_minute_and_end_after_five() -> None:
    backoff = Backoff()
    assert [backoff.next_pause_s(1, 0) for _ in range(6)] == [1, 2, 4, 8, 16, None]
    assert [Backoff().next_pause_s(60, 0)] == [60]
    slow = Backoff()
    assert [slow.next_pause_s(20, 0) for _ in range(5)] == [20, 40, 60, 60, 60]


def test_fault_10_ten_good_minutes_begin_anew() -> None:
    backoff = Backoff()
    for _ in range(5):
        backoff.next_pause_s(1, GOOD_S - 1)
    assert backoff.next_pause_s(1, GOOD_S - 1) is None
    assert backoff.next_pause_s(1, GOOD_S) == 1
    assert backoff.restarts == 1


@pytest.mark.parametrize(
    ("cause", "is_recognised", "helps"),
    [
        (Cause.CRASHED, False, True),
        (Cause.CRASHED, True, True),
        (Cause.SUPERVISOR_LOST, False, True),
        (Cause.START_FAILED, False, True),
        (Cause.START_FAILED, True, False),
        (Cause.OUT_OF_MEMORY, True, False),
        (Cause.MODEL_UNUSABLE, True, False),
        (Cause.BAD_REQUEST, True, False),
        (Cause.STALLED, False, False),
    ],
)
def test_fault_10_only_what_may_succeed_the_next_time_is_tried(cause: Cause, is_recognised: bool, helps: bool) -> None:
    assert may_help(Failure(cause, Message("Why.")), is_recognised=is_recognised) is helps
