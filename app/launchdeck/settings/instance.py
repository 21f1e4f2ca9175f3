"""One application at a time on these folders: the one that holds the lock, which is free when it dies, however that is.

The lock lies in the state folder: the runtime folder may vanish when the user logs out while the application lives.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from launchdeck.settings.paths import Paths

WINDOW, SERVE = "window", "serve"


class Instance:
    """The place of the one application, whoever has it."""

    def __init__(self, paths: Paths) -> None:
        self._path = paths.state / "instance.lock"
        self._file: int | None = None

    def acquire(self, kind: str) -> bool:
        """Be the one until this process ends; False: another process is. Raises OSError."""
        try:
            import fcntl  # noqa: PLC0415 (the application opens on Windows too, where nothing is locked)
        except ImportError:
            return True
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
            return False
        os.ftruncate(file, 0)
        os.pwrite(file, f"{kind} {os.getpid()}".encode(), 0)
        self._file = file
        return True

    def holder(self) -> tuple[str, int] | None:
        """What the one is and its pid, while `acquire` says that there is one; None: it is just taking its place."""
        try:
            kind, pid = self._path.read_text(encoding="ascii").split()
            return kind, int(pid)
        except (FileNotFoundError, ValueError):
            return None
