"""`launchdeck gpus`: the GPUs of this machine, or of a recorded inventory."""

from __future__ import annotations

import argparse

from launchdeck.commands.output import print_json, print_line, print_table
from launchdeck.domain.gpu import GpuReading, GpuState, Inventory
from launchdeck.hardware.document import to_document
from launchdeck.hardware.source import open_source
from launchdeck.settings.paths import Paths
from launchdeck.settings.store import SettingsStore

MIB = 1024 * 1024


def run(options: argparse.Namespace) -> int:
    """Print the inventory: a table, or the document that `--inventory` reads."""
    settings = SettingsStore(Paths.resolve().settings_file).settings
    source = open_source(settings.detection, getattr(options, "inventory", None))
    try:
        inventory = source.read()
    finally:
        source.close()
    if options.json:
        print_json(to_document(inventory))
    else:
        _print_table(inventory)
    return 0


def _print_table(inventory: Inventory) -> None:
    header = ("GPU", "Name", "VRAM used / total MiB", "Use", "Temp", "Power", "State")
    rows = [_row(str(reading.gpu.index), reading) for reading in inventory.gpus]
    print_table(header, [*rows, _row("CPU", inventory.cpu)], right=frozenset({2, 3, 4, 5}))
    note = "REPLAY of a recorded inventory, " if inventory.replayed else ""
    print_line(f"{note}detected by {inventory.detector}")


def _row(place: str, reading: GpuReading) -> tuple[str, ...]:
    sample = reading.sample
    used = "-" if sample.used_memory_bytes is None else f"{sample.used_memory_bytes // MIB}"
    total = "-" if reading.gpu.total_memory_bytes is None else f"{reading.gpu.total_memory_bytes // MIB}"
    return (
        place,
        reading.gpu.name,
        f"{used} / {total}",
        _value(sample.utilization_percent, "%"),
        _value(sample.temperature_c, "C"),
        _value(None if sample.power_watts is None else round(sample.power_watts), "W"),
        "" if sample.state is GpuState.ACTIVE else str(sample.state),
    )


def _value(value: int | None, unit: str) -> str:
    return "not measurable" if value is None else f"{value} {unit}"
