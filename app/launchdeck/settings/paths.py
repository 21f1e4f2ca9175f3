"""The application's folders, as the platform has them; LAUNCHDECK_HOME puts all of them below one folder."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import logging
import os
import stat
import warnings
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Final

from launchdeck.domain.errors import Cause, LaunchdeckError
from launchdeck.domain.text import Message

if TYPE_CHECKING:
    from collections.abc import Mapping

logger = logging.getLogger(__name__)

HOME_VARIABLE = "LAUNCHDECK_HOME"
SOCKET_PATH_BYTES: Final = 107
"""What the address of a Unix socket has room for."""
_SOCKET_NAME_BYTES: Final = len("/01234567.sock")
_SHORT_PLACE: Final = "/tmp"  # noqa: S108 (a folder of our own in it, made private and looked at before it is used)


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
                raise _cannot_be_made(folder, error) from error
            _make_private(folder)
        if self.sockets != self.runtime:
            self._make_short_place()

    def _make_short_place(self) -> None:
        """Raises LaunchdeckError: somebody has put something else there."""
        folder = self.sockets
        try:
            with contextlib.suppress(FileExistsError):
                folder.mkdir(mode=0o700)
            if not stat.S_ISDIR(folder.lstat().st_mode):
                raise FileExistsError(errno.EEXIST, "something else has that name")
        except OSError as error:
            raise _cannot_be_made(folder, error) from error
        _make_private(folder)
        logger.warning(
            "%s is too long a name for a folder of sockets; those of the models' supervisors lie in %s",
            self.runtime,
            folder,
        )

    @property
    def sockets(self) -> Path:
        """Where the supervisors' sockets lie: the runtime folder, or, where its name leaves no room for theirs in the
        address of a socket, the only folder outside those that are named. It is the same in every environment.
        """
        if len(os.fsencode(self.runtime)) + _SOCKET_NAME_BYTES <= SOCKET_PATH_BYTES:
            return self.runtime
        mark = hashlib.sha256(os.fsencode(self.runtime)).hexdigest()[:12]
        return Path(_SHORT_PLACE) / f"launchdeck-{os.geteuid()}-{mark}"

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


def _cannot_be_made(folder: Path, error: OSError) -> LaunchdeckError:
    return LaunchdeckError.of(
        Cause.START_FAILED,
        Message("The folder {folder} cannot be made: {reason}.", folder=folder, reason=error.strerror),
        Message("Make room for it, or name another place in the variable LAUNCHDECK_HOME."),
    )


def _make_private(folder: Path) -> None:
    if os.name == "nt":  # a profile's folders are private there
        return
    try:
        status = folder.stat()
    except OSError as error:
        raise _cannot_be_made(folder, error) from error
    if status.st_uid != os.geteuid():
        raise LaunchdeckError.of(
            Cause.CONFLICT,
            Message("The folder {folder} belongs to another user.", folder=folder),
            Message(
                "Remove it, or name another one: {variable}=DIR puts all folders below DIR.", variable=HOME_VARIABLE
            ),
        )
    if status.st_mode & 0o077:
        try:
            folder.chmod(0o700)
        except OSError as error:
            raise LaunchdeckError.of(
                Cause.START_FAILED,
                Message(
                    "The folder {folder} can be read by others, and that cannot be changed: {reason}.",
                    folder=folder,
                    reason=error.strerror,
                ),
                Message("Take it from them (chmod 700), or name another one in the variable LAUNCHDECK_HOME."),
            ) from error
