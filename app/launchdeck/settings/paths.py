"""The application's folders, as the platform has them; LAUNCHDECK_HOME puts all of them below one folder."""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

HOME_VARIABLE = "LAUNCHDECK_HOME"


@dataclass(frozen=True, slots=True)
class Paths:
    """config: settings.toml; data: engines and models we fetched; state: records, logs, history;
    cache: what can be made again; runtime: sockets and the API's token, gone after a reboot.
    """

    config: Path
    data: Path
    state: Path
    cache: Path
    runtime: Path

    @classmethod
    def resolve(cls, environ: Mapping[str, str] = os.environ) -> Paths:
        """Nothing is created yet."""
        home = environ.get(HOME_VARIABLE)
        if home:
            root = Path(home).absolute()
            return cls(*(root / field.name for field in fields(cls)))
        import platformdirs  # noqa: PLC0415 (not needed with LAUNCHDECK_HOME)

        dirs = platformdirs.PlatformDirs("launchdeck", appauthor=False)
        with warnings.catch_warnings():
            # without a login session there is no XDG_RUNTIME_DIR; the folder it falls back to is just as private
            warnings.simplefilter("ignore", platformdirs.RuntimeDirWarning)
            runtime = dirs.user_runtime_path
        return cls(
            config=dirs.user_config_path,
            data=dirs.user_data_path,
            state=dirs.user_state_path,
            cache=dirs.user_cache_path,
            runtime=runtime,
        )

    def create(self) -> None:
        """Make all folders, readable by the user alone."""
        for field in fields(self):
            folder: Path = getattr(self, field.name)
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    @property
    def settings_file(self) -> Path:
        return self.config / "settings.toml"

    @property
    def records(self) -> Path:
        """One JSON record and one log folder a deployment."""
        return self.state / "deployments"

    @property
    def history(self) -> Path:
        """What was measured in the last 24 hours."""
        return self.state / "history.npz"
