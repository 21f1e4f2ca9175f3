"""What one run of the application is given: its folders, its settings, and where its GPUs come from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from launchdeck.domain.gpu import Inventory
from launchdeck.settings.paths import Paths
from launchdeck.settings.schema import Settings
from launchdeck.settings.store import SettingsStore


@dataclass(frozen=True, slots=True)
class Setup:
    """`inventory_file` replaces this machine's GPUs by recorded ones, `asked_api_port` the settings' port. `recorded`
    is what was read from that file already: it may be a pipe, which gives it once.
    """

    paths: Paths
    store: SettingsStore
    inventory_file: Path | None = None
    asked_api_port: int | None = None
    recorded: Inventory | None = None

    @classmethod
    def of(
        cls,
        paths: Paths,
        inventory_file: Path | None = None,
        settings: Settings | None = None,
        api_port: int | None = None,
        recorded: Inventory | None = None,
    ) -> Setup:
        """Make the folders and read the settings; `settings` hold for this run instead of the file's."""
        paths.create()
        store = SettingsStore(paths.settings_file)
        if settings is not None:
            store.settings = settings
        return cls(paths, store, inventory_file, api_port, recorded)

    @property
    def settings(self) -> Settings:
        """As they are now."""
        return self.store.settings

    @property
    def api_port(self) -> int:
        """Where the HTTP interface listens; 0 means any free port."""
        return self.settings.api_port if self.asked_api_port is None else self.asked_api_port
