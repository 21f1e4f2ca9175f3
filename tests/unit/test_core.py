"""One reading goes one way, and one event says that devices and engines are known."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from fakes.samples import LLAMA_SERVER, two_gpus
from launchdeck.core import Core
from launchdeck.engines.planner import Planner
from launchdeck.settings.paths import Paths
from launchdeck.settings.schema import Settings
from launchdeck.settings.setup import Setup

if TYPE_CHECKING:
    import pytest

    from launchdeck.domain.gpu import Inventory


def test_a_reading_is_told_to_planner_and_manager_and_then_to_all_who_asked(
    qapp: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    core = Core(Setup.of(Paths.resolve()))
    told: list[object] = []
    monkeypatch.setattr(core.manager, "observe", lambda inventory: told.append(("manager", inventory)))

    def reader(inventory: Inventory) -> None:
        told.append(("reader", inventory, core.planner.inventory))

    end = core.subscribe_inventory(reader)
    seen = two_gpus()
    core.observe(seen)
    assert told == [("manager", seen), ("reader", seen, seen)]
    end()
    core.observe(two_gpus())
    assert [name for name, *_ in told] == ["manager", "reader", "manager"]


def test_whoever_waits_is_woken_when_devices_and_engines_are_known() -> None:
    async def run() -> None:
        planner = Planner(Settings)
        waiting = asyncio.create_task(planner.known.wait())
        planner.engines = (LLAMA_SERVER,)
        await asyncio.sleep(0)
        assert not waiting.done()
        planner.inventory = two_gpus()
        assert await asyncio.wait_for(waiting, 5)
        planner.inventory = None
        assert not planner.known.is_set()

    asyncio.run(run())
