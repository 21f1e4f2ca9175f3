from __future__ import annotations

import asyncio
import time

import pytest

from launchdeck.serving.deadline import Deadline


def passed_after(*delays_s: float) -> float:
    """How many seconds it takes to pass that was set to these, one after the other."""

    async def scenario() -> float:
        deadline = Deadline()
        passing = asyncio.create_task(deadline.passed())
        await asyncio.sleep(0)
        began_s = time.monotonic()
        for delay_s in delays_s:
            deadline.set_in(delay_s)
            await asyncio.sleep(0)
        async with asyncio.timeout(30):
            await passing
        return time.monotonic() - began_s

    return asyncio.run(scenario())


@pytest.mark.parametrize("delays_s", [(0.2,), (60, 0.2), (0.2, 60)])
def test_the_earliest_counts(delays_s: tuple[float, ...]) -> None:
    assert passed_after(*delays_s) >= 0.2


def test_it_may_pass_at_once() -> None:
    assert passed_after(60, 0) < 30


def test_it_does_not_pass_before_it_is_set() -> None:
    async def scenario() -> None:
        passing = asyncio.create_task(Deadline().passed())
        done, _ = await asyncio.wait({passing}, timeout=0.2)
        assert not done
        passing.cancel()

    asyncio.run(scenario())
