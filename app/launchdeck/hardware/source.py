"""What can be asked for readings again and again, and with how much patience."""

from __future__ import annotations

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
