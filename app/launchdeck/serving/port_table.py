"""The ports that are given out. Reserved here and, for other instances of the application, by a lock file: a socket
would be in the way of the engine that has to bind it.
"""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Final

from launchdeck.files.lock_file import hold
from launchdeck.serving.ports import candidates, no_port
from launchdeck.serving.sockets import is_port_free

if TYPE_CHECKING:
    from pathlib import Path

logger = logging.getLogger(__name__)

HOST: Final = "127.0.0.1"


class PortTable:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._locks: dict[int, int | None] = {}
        self._unusable: dict[int, OSError] = {}

    def suggest(self, ports: range) -> int | None:
        """The port that would be given out now; nothing is reserved."""
        free = (port for port in candidates(ports, self._locks) if port not in self._unusable)
        return next((port for port in free if is_port_free(HOST, port)), None)

    def reserve(self, ports: range) -> int:
        """The first free port, ours until released. One whose lock file cannot be used is left out, and told.

        Raises:
            LaunchdeckError: there is none.
            OSError: none of them has a lock file that can be used.
        """
        others = 0
        for port in candidates(ports, self._locks):
            try:
                lock = self._lock(port)
            except OSError as error:
                self._tell(port, error)
                continue
            self._unusable.pop(port, None)
            others += 1
            if lock is None:
                continue
            if is_port_free(HOST, port):
                self._locks[port] = lock
                return port
            os.close(lock)
        if not others and (errors := [self._unusable[port] for port in ports if port in self._unusable]):
            raise errors[0]
        raise no_port(ports)

    def adopt(self, port: int) -> None:
        """A model that already runs has this port."""
        if self._locks.get(port) is not None:  # two records may name one port, and one lock is enough
            return
        try:
            self._locks[port] = self._lock(port)
        except OSError as error:
            self._tell(port, error)
            self._locks[port] = None

    def release(self, port: int) -> None:
        lock = self._locks.pop(port, None)
        if lock is not None:
            os.close(lock)

    def _lock(self, port: int) -> int | None:
        """None: another instance has it. The file stays, its lock ends with the process. Raises OSError."""
        return hold(self._folder / f"port-{port}.lock")

    def _tell(self, port: int, error: OSError) -> None:
        if port not in self._unusable:
            logger.warning("Port %d is left out: its lock file cannot be used: %s", port, error)
        self._unusable[port] = error
