"""Where readings come from: this machine, or a recording of another one."""

from __future__ import annotations

from pathlib import Path

from launchdeck.hardware.patience import Patience
from launchdeck.hardware.source import WATCHING, InventorySource


def open_source(detection: str, recorded: Path | None, *, patience: Patience = WATCHING) -> InventorySource:
    """The recorded inventory if one is named, else this machine's devices, found as `detection` has it.

    A driver that does not answer for longer than its `patience` is left out of a reading. Who reads again and again
    has little (WATCHING), who reads only once takes ONCE.

    Raises:
        LaunchdeckError: the recorded file cannot be read or is no inventory.
    """
    if recorded is not None:
        from launchdeck.hardware.replay import ReplaySource  # noqa: PLC0415

        return ReplaySource.open(recorded)
    from launchdeck.hardware.unified import UnifiedGPUDetector  # noqa: PLC0415 (it loads the driver's libraries)

    return UnifiedGPUDetector(detection=detection, patience=patience)
