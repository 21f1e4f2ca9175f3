"""What is written while nobody waits for it."""

from __future__ import annotations

import json
import sys
import threading
from pathlib import Path

from fakes import samples
from launchdeck.domain.deployment import Applied, PlacedDevice
from launchdeck.engines.devices.device_orders import DeviceOrders
from launchdeck.files.json_file import JsonFile
from launchdeck.files.later import LaterFile, finish_writing


def test_the_last_of_several_is_what_stands_there(tmp_path: Path) -> None:
    file = LaterFile(JsonFile(tmp_path / "a.json"))
    document = {"n": -1}
    for number in range(200):
        document["n"] = number
        file.write(document)
    document["n"] = 500
    assert finish_writing(20)
    assert json.loads((tmp_path / "a.json").read_text()) == {"n": 199}


def test_whoever_learns_touches_no_disk(tmp_path: Path) -> None:
    """The interpreter itself tells which thread opens a file there."""
    openers: set[str] = set()
    is_listening = True

    def note(event: str, arguments: tuple[object, ...]) -> None:
        if is_listening and event in {"open", "os.rename"} and str(arguments[0]).startswith(str(tmp_path)):
            openers.add(threading.current_thread().name)

    orders = DeviceOrders(tmp_path / "orders.json")
    sys.addaudithook(note)
    orders.learn(samples.deployment(applied=Applied(placed=(PlacedDevice("Vulkan0", "RTX", "0000:01:00.0", 1),))))
    assert finish_writing(20)
    is_listening = False
    assert openers == {"writing orders.json"}


def test_a_file_that_cannot_be_written_keeps_nobody(tmp_path: Path) -> None:
    (tmp_path / "a.json").mkdir()
    file = LaterFile(JsonFile(tmp_path / "a.json"))
    file.write({"n": 1})
    assert finish_writing(20)
    assert (tmp_path / "a.json").is_dir()
