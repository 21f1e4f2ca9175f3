"""`launchdeck gpus`: the GPUs of this machine, or of a recorded inventory."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from typing import Any, Final

from launchdeck.commands.output import clear_terminal, flush, print_json, print_json_line, print_line
from launchdeck.commands.table import print_table
from launchdeck.domain.detection import Outcome
from launchdeck.domain.gpu import GpuMask, GpuReading, GpuState, Inventory
from launchdeck.domain.units import MIB
from launchdeck.hardware.opening import open_source
from launchdeck.hardware.source import ONCE, InventorySource
from launchdeck.settings.paths import Paths
from launchdeck.settings.store import SettingsStore

_LOAD_TIME_S: Final = 0.11  # what the CPU's load needs to be told, see hardware.cpu
_NOT_MEASURABLE: Final = "-"
_NOT_OURS: Final = "not ours"
_HEADER: Final = ("GPU", "Name", "Used MiB", "Total MiB", "Use", "Temp", "Power", "Clock", "Fan", "State")

_NAME: Final = _HEADER.index("Name")
_OPTIONAL: Final = [_HEADER.index(name) for name in ("Fan", "Clock", "Power")]


def run(options: argparse.Namespace) -> int:
    """Print the inventory once, or again and again: a table, or the document that `--inventory` reads."""
    paths = Paths.resolve()
    settings = SettingsStore(paths.settings_file).settings
    recorded = getattr(options, "inventory", None)
    if options.watch:
        source = open_source(settings.detection, recorded)
    else:
        source = open_source(settings.detection, recorded, patience=ONCE)
    try:
        inventory = _first_reading(source)
        if options.watch:
            _watch(source, inventory, settings.sampling_interval_s, paths if options.json else None)
        elif options.json:
            print_json(_document(inventory, paths))
        else:
            _print_table(inventory)
    finally:
        source.close()
    return 0


def _first_reading(source: InventorySource) -> Inventory:
    """A second one where the first came too early to tell the CPU's load."""
    inventory = source.read()
    if inventory.replayed or inventory.cpu.sample.utilization_percent is not None:
        return inventory
    time.sleep(_LOAD_TIME_S)
    return source.read()


def _document(inventory: Inventory, paths: Paths) -> dict[str, Any]:
    """With what models will still take, asked of their supervisors."""
    from launchdeck.hardware.document import to_document  # noqa: PLC0415

    is_promised = not inventory.replayed and _has_launched(paths)
    return to_document(_promised(inventory, paths) if is_promised else inventory)


def _has_launched(paths: Paths) -> bool:
    """Whether there may be supervisors. Whoever reads their records tells what is wrong with these."""
    try:
        return any(paths.records.iterdir())
    except FileNotFoundError:
        return False
    except OSError:
        return True


def _promised(inventory: Inventory, paths: Paths) -> Inventory:
    import asyncio  # noqa: PLC0415 (all of these are half of the time that this command takes, and seldom needed)

    from launchdeck.engines.promises import promises, with_promises  # noqa: PLC0415
    from launchdeck.serving import direct  # noqa: PLC0415

    return with_promises(inventory, promises(asyncio.run(direct.living(paths)), inventory, before_s=None))


def _watch(source: InventorySource, inventory: Inventory, interval_s: float, documents_of: Paths | None) -> None:
    """Until Ctrl-C. The table is drawn in place; of documents (with these folders) there is one a line."""
    while True:
        if documents_of is not None:
            print_json_line(_document(inventory, documents_of))
        else:
            clear_terminal()
            _print_table(inventory)
            flush()
        time.sleep(interval_s)
        inventory = source.read()


def _print_table(inventory: Inventory) -> None:
    rows = [_row(str(reading.gpu.index), reading) for reading in inventory.gpus]
    rows.append(_row("CPU", inventory.cpu))
    print_table(_HEADER, rows, right=frozenset(range(2, len(_HEADER) - 1)), elastic=_NAME, optional=_OPTIONAL)
    if any(_NOT_MEASURABLE in row for row in rows):
        print_line(f"{_NOT_MEASURABLE}: not measurable")
    for mask in dict.fromkeys(reading.gpu.hidden_by for reading in inventory.gpus if reading.gpu.hidden_by):
        print_line(_about(mask))
    for sentence in _remarks(inventory):
        print_line(sentence)
    versions = dict.fromkeys(reading.gpu.driver_version for reading in inventory.gpus if reading.gpu.driver_version)
    drivers = f" (driver {', '.join(versions)})" if versions else ""
    note = "REPLAY of a recorded inventory, " if inventory.replayed else ""
    print_line(f"{note}detected by {inventory.detector}{drivers}")


def _remarks(inventory: Inventory) -> list[str]:
    """Why a GPU in the list cannot be used, and which cards are not in it though a source that works has seen them."""
    unusable = [f"GPU {reading.gpu.index}: {reading.gpu.problem}" for reading in inventory.gpus if reading.gpu.problem]
    works = {Outcome.FOUND, Outcome.EMPTY}
    return [*unusable, *(str(step.reason) for step in inventory.steps if step.outcome in works and step.reason)]


def _row(place: str, reading: GpuReading) -> tuple[str, ...]:
    sample = reading.sample
    return (
        place,
        reading.gpu.name,
        _mib(sample.used_memory_bytes),
        _mib(reading.gpu.total_memory_bytes),
        _value(sample.utilization_percent, "%"),
        _value(sample.temperature_c, "°C"),
        _power(reading),
        _value(sample.graphics_clock_mhz, "MHz"),
        _value(sample.fan_percent, "%"),
        ", ".join(_states(reading)),
    )


def _states(reading: GpuReading) -> Iterator[str]:
    """Nothing of a GPU that is as it should be."""
    if reading.sample.state is not GpuState.ACTIVE:
        yield str(reading.sample.state)
    if not reading.gpu.ours:
        yield _NOT_OURS


def _about(mask: GpuMask) -> str:
    return f"{_NOT_OURS}: {mask.doubt or f'hidden from Launchdeck by {mask.setting}'}"


def _mib(size_bytes: int | None) -> str:
    return _NOT_MEASURABLE if size_bytes is None else str(size_bytes // MIB)


def _value(value: float | None, unit: str) -> str:
    return _NOT_MEASURABLE if value is None else f"{value:.0f} {unit}"


def _power(reading: GpuReading) -> str:
    power, limit = reading.sample.power_watts, reading.sample.power_limit_watts
    if power is None or limit is None:
        return _value(power, "W")
    return f"{power:.0f} / {limit:.0f} W"
