"""The ports that are given out. Reserved here and, for other instances of the application, by a lock file: a socket
would be in the way of the engine that has to bind it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from launchdeck.planning.ports import candidates, no_port
from launchdeck.serving.sockets import is_port_free

if TYPE_CHECKING:
    from pathlib import Path

HOST: Final = "127.0.0.1"


class PortTable:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._locks: dict[int, int | None] = {}

    def suggest(self, ports: range) -> int | None:
        """The port that would be given out now; nothing is reserved."""
        return next((port for port in candidates(ports, self._locks) if is_port_free(HOST, port)), None)

    def reserve(self, ports: range) -> int:
        """The first free port, ours until released. Raises LaunchdeckError if there is none, OSError if the lock
        file cannot be made.
        """
        for port in candidates(ports, self._locks):
            lock = self._lock(port)
            if lock is None:
                continue
            if is_port_free(HOST, port):
                self._locks[port] = lock
                return port
            os.close(lock)
        raise no_port(ports)

    def adopt(self, port: int) -> None:
        """A model that already runs has this port."""
        self._locks[port] = self._lock(port)

    def release(self, port: int) -> None:
        lock = self._locks.pop(port, None)
        if lock is not None:
            os.close(lock)

    def _lock(self, port: int) -> int | None:
        """None: another instance has it. The file stays, its lock ends with the process at the latest."""
        import fcntl  # noqa: PLC0415 (the application opens on Windows too, it only starts no model there)

        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = os.open(self._folder / f"port-{port}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
            return None
        return file
