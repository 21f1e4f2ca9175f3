"""Where readings come from: this machine, or a recording of another one."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from launchdeck.domain.gpu import Inventory


class InventorySource(Protocol):
    """Anything that can be asked again and again for all devices at this moment."""

    def read(self) -> Inventory: ...

    def close(self) -> None: ...


def open_source(detection: str, recorded: Path | None) -> InventorySource:
    """The recorded inventory if one is named, else this machine's devices, found as `detection` has it.

    Raises:
        LaunchdeckError: the recorded file cannot be read or is no inventory.
    """
    if recorded is not None:
        from launchdeck.hardware.replay import ReplaySource  # noqa: PLC0415

        return ReplaySource.open(recorded)
    from launchdeck.hardware.unified import UnifiedGPUDetector  # noqa: PLC0415 (it loads the driver's libraries)

    return UnifiedGPUDetector(detection=detection)
