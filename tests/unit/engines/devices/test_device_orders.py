"""Where an engine's devices sit, as its logs have said."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fakes import samples
from launchdeck.domain.deployment import Applied, Deployment, PlacedDevice
from launchdeck.domain.plan import EngineInfo
from launchdeck.engines.devices.device_orders import MOST_ENGINES, DeviceOrders
from launchdeck.files.later import finish_writing

LINE = "NVIDIA GeForce RTX 4090 (24564 MiB, {free} MiB free)"


def engine(*lines: str, **changes: Any) -> EngineInfo:
    return replace(samples.LLAMA_SERVER, devices=lines or (f"Vulkan0: {LINE.format(free=1)}",), **changes)


def started(of: EngineInfo, **devices: str | None) -> Deployment:
    placed = tuple(PlacedDevice(name, "RTX", address, 1) for name, address in devices.items())
    return samples.deployment(plan=samples.plan(engine=of), applied=Applied(placed=placed))


def test_what_was_said_is_known_in_the_next_run_whatever_is_free_by_then(tmp_path: Path) -> None:
    file = tmp_path / "orders.json"
    DeviceOrders(file).learn(started(engine(), Vulkan0="0000:41:00.0", Vulkan1="0000:01:00.0"))
    assert finish_writing(20)
    later = engine(f"Vulkan0: {LINE.format(free=20000)}")
    assert DeviceOrders(file).addresses(later) == {"Vulkan0": "0000:41:00.0", "Vulkan1": "0000:01:00.0"}


@pytest.mark.parametrize("other", [engine(version="b2"), engine("Vulkan0: RTX 3060 (12288 MiB, 1 MiB free)")])
def test_another_build_and_other_cards_have_another_order(other: EngineInfo) -> None:
    orders = DeviceOrders()
    orders.learn(started(engine(), Vulkan0="0000:41:00.0"))
    assert orders.addresses(other) == {}


def test_what_is_said_later_takes_the_place_of_what_was_known() -> None:
    orders = DeviceOrders()
    orders.learn(started(engine(), Vulkan0="0000:01:00.0", Vulkan1="0000:02:00.0"))
    orders.learn(started(engine(), Vulkan1="0000:01:00.0"))
    assert orders.addresses(engine()) == {"Vulkan1": "0000:01:00.0"}
    orders.learn(started(engine(), Vulkan0="0000:02:00.0"))
    assert orders.addresses(engine()) == {"Vulkan0": "0000:02:00.0", "Vulkan1": "0000:01:00.0"}


def test_what_was_known_before_a_card_was_moved_is_not_kept_beside_what_is_said_now() -> None:
    orders = DeviceOrders()
    orders.learn(started(engine(), Vulkan0="0000:01:00.0", Vulkan1="0000:41:00.0"))
    here = frozenset({"0000:01:00", "0000:42:00"})
    orders.learn(started(engine(), Vulkan0="0000:01:00.0"), here)
    assert orders.addresses(engine()) == {"Vulkan0": "0000:01:00.0"}
    # where a card is only away, the other stays where it was
    orders.learn(started(engine(), Vulkan1="0000:42:00.0"), here)
    orders.learn(started(engine(), Vulkan0="0000:01:00.0"), here - {"0000:42:00"})
    assert orders.addresses(engine()) == {"Vulkan0": "0000:01:00.0", "Vulkan1": "0000:42:00.0"}


def test_two_drivers_of_one_card_are_both_kept_and_the_last_that_was_said_comes_first() -> None:
    orders = DeviceOrders()
    orders.learn(started(engine(), Vulkan0="0000:01:00.0"))
    orders.learn(started(engine(), Vulkan1="0000:01:00.0"))
    assert list(orders.addresses(engine())) == ["Vulkan1", "Vulkan0"]
    orders.learn(started(engine(), Vulkan0="0000:01:00.0"))
    assert list(orders.addresses(engine())) == ["Vulkan1", "Vulkan0"], "said again: nothing is written for it"


def test_numbers_behind_a_mask_and_devices_without_a_place_are_not_kept(tmp_path: Path) -> None:
    orders = DeviceOrders(tmp_path / "orders.json")
    orders.learn(started(engine(), CUDA0="0000:01:00.0", ROCm0="0000:02:00.0", RPC0="0000:03:00.0", Vulkan0=None))
    assert orders.addresses(engine()) == {}
    assert finish_writing(20)
    assert not (tmp_path / "orders.json").exists()


def test_a_file_that_cannot_be_what_was_written_costs_its_entries(tmp_path: Path) -> None:
    file = tmp_path / "orders.json"
    orders = DeviceOrders(file)
    orders.learn(started(engine(), Vulkan0="0000:01:00.0"))
    assert finish_writing(20)
    (key,) = json.loads(file.read_text())
    for order in ({"Vulkan0": "nowhere"}, {"Vulkan0": 5}, {"CUDA0": "0000:01:00.0"}, [], None, {"": "0000:01:00.0"}):
        file.write_text(json.dumps({key: order}))
        assert DeviceOrders(file).addresses(engine()) == {}


def test_no_more_engines_are_kept_than_anybody_has(tmp_path: Path) -> None:
    orders = DeviceOrders(tmp_path / "orders.json")
    for number in range(MOST_ENGINES + 5):
        orders.learn(started(engine(version=str(number)), Vulkan0="0000:01:00.0"))
    assert finish_writing(20)
    assert len(json.loads((tmp_path / "orders.json").read_text())) == MOST_ENGINES
    assert orders.addresses(engine(version="0")) == {}
    assert orders.addresses(engine(version=str(MOST_ENGINES + 4))) != {}
