"""Where readings come from: this machine, or a recording of another one."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Protocol

from launchdeck.domain.gpu import Inventory

ONCE_S: Final = 75.0  # more than the 60 s that PyTorch is given to tell what it sees


class InventorySource(Protocol):
    """Anything that can be asked again and again for all devices at this moment."""

    def read(self) -> Inventory: ...

    def refresh(self) -> None:
        """With the next reading, look for devices anew, as at the start."""
        ...

    def close(self) -> None: ...


def open_source(detection: str, recorded: Path | None, *, patience_s: float = 1.0) -> InventorySource:
    """The recorded inventory if one is named, else this machine's devices, found as `detection` has it.

    A driver that does not answer for longer than `patience_s` is left out of a reading. Who reads again and again
    has little patience, who reads only once takes ONCE_S.

    Raises:
        LaunchdeckError: the recorded file cannot be read or is no inventory.
    """
    if recorded is not None:
        from launchdeck.hardware.replay import ReplaySource  # noqa: PLC0415

        return ReplaySource.open(recorded)
    from launchdeck.hardware.unified import UnifiedGPUDetector  # noqa: PLC0415 (it loads the driver's libraries)

    return UnifiedGPUDetector(detection=detection, patience_s=patience_s)
