"""A network mount whose server is gone: whoever looks below it waits until it is back."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Self


class DeadMount:
    """Shows the processes of its environment `mount` as such a folder, see dead_mount.c; it need not be there."""

    def __init__(self, library: Path | str, mount: Path) -> None:
        self.mount = mount
        self.environment = {"LD_PRELOAD": str(library), "LAUNCHDECK_FAKE_DEAD_MOUNT": str(mount)}
        self._alive = mount.with_name(f"{mount.name}.alive")

    @classmethod
    def of(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """The one that a process of this environment sees."""
        return cls(environment["LD_PRELOAD"], Path(environment["LAUNCHDECK_FAKE_DEAD_MOUNT"]))

    def revive(self) -> None:
        """Its server is back: all who wait go on."""
        self._alive.touch()

    def die(self) -> None:
        """As at first."""
        self._alive.unlink()
