"""Where readings come from: this machine, or a recording of another one."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Protocol

from launchdeck.domain.gpu import Inventory
from launchdeck.hardware.patience import Patience

WATCHING: Final = Patience(opening_s=1.0, reading_s=1.0, last_resort_s=1.0)
# A server may take long to open a driver without persistence mode; PyTorch is given 60 s to tell what it sees.
ONCE: Final = Patience(opening_s=20.0, reading_s=5.0, last_resort_s=75.0)


class InventorySource(Protocol):
    """Anything that can be asked again and again for all devices at this moment."""

    def read(self) -> Inventory: ...

    def refresh(self) -> None:
        """With the next reading, look for devices anew, as at the start."""
        ...

    def close(self) -> None: ...


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
