"""The application's folders, as the platform has them; LAUNCHDECK_HOME puts all of them below one folder."""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

from launchdeck.domain.errors import Cause, LaunchdeckError
from launchdeck.domain.text import Message

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
            # without a login session there is no XDG_RUNTIME_DIR; the folder it falls back to is made private below
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
        """Make all folders, readable by the user alone, also where they were not.

        Raises:
            LaunchdeckError: one cannot be made, or belongs to somebody else, who could read keys or answer in the place
                of a model there: without a login session the runtime folder lies in /tmp, where anybody may have made
                it before.
        """
        for field in fields(self):
            folder: Path = getattr(self, field.name)
            try:
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            except OSError as error:
                raise LaunchdeckError.of(
                    Cause.START_FAILED,
                    Message("The folder {folder} cannot be made: {reason}.", folder=folder, reason=error.strerror),
                    Message("Make room for it, or name another place in the variable LAUNCHDECK_HOME."),
                ) from error
            _make_private(folder)

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


def _make_private(folder: Path) -> None:
    if os.name == "nt":  # a profile's folders are private there
        return
    status = folder.stat()
    if status.st_uid != os.geteuid():
        raise LaunchdeckError.of(
            Cause.CONFLICT,
            Message("The folder {folder} belongs to another user.", folder=folder),
            Message(
                "Remove it, or name another one: {variable}=DIR puts all folders below DIR.", variable=HOME_VARIABLE
            ),
        )
    if status.st_mode & 0o077:
        folder.chmod(0o700)
