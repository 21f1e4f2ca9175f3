"""The door for the user's own hand: a socket in the runtime folder that no other user can open, and that no page in a
browser and no holder of the token can reach. What comes through it may do what is refused over HTTP: load a model from
outside the library's folders.

It speaks the same HTTP with the same limits, and has no way of its own to start anything. Its paths begin with the
version of what can be asked.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import struct
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Final

from launchdeck.api.address import OWN_HAND_LOAD, own_hand_socket
from launchdeck.api.application import application_of
from launchdeck.api.connections import PEER, Connection
from launchdeck.api.gate import Gate
from launchdeck.api.handlers import load_by_hand
from launchdeck.api.problems import Problem
from launchdeck.files.removal import remove_socket

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Scope

    from launchdeck.api.backend import Backend
    from launchdeck.settings.paths import Paths

logger = logging.getLogger(__name__)

_CREDENTIALS: Final = struct.Struct("3i")  # pid, uid, gid; see unix(7)
_ANOTHER_USER: Final = Problem(
    HTTPStatus.FORBIDDEN, "another_user", "This socket answers the user alone whom this Launchdeck belongs to."
)


class OwnHandGate(Gate):
    """Lets in the user whom this process belongs to, by what the kernel says of who has connected."""

    def refusal(self, scope: Scope) -> Problem | None:
        """Why not; None: come in."""
        if scope["state"][PEER] != os.geteuid():
            return _ANOTHER_USER
        return self.refusal_of_body(scope)


def peer_uid(connected: socket.socket) -> int | None:
    """Who has connected, as it was then. None: the system does not tell."""
    option = getattr(socket, "SO_PEERCRED", None)
    if option is None:
        return None
    uid: int = _CREDENTIALS.unpack(connected.getsockopt(socket.SOL_SOCKET, option, _CREDENTIALS.size))[1]
    return uid


class OwnHandConnection(Connection):
    """One that knows who has connected."""

    def connection_made(self, transport: object) -> None:
        """Ask the kernel while the socket is open for sure."""
        super().connection_made(transport)  # type: ignore[arg-type]
        self.app_state[PEER] = peer_uid(self.transport.get_extra_info("socket"))


def own_hand_application(backend: Backend) -> ASGIApp:
    """All that can be asked here."""
    return OwnHandGate(application_of({OWN_HAND_LOAD: partial(load_by_hand, backend)}))


def listen(paths: Paths) -> OwnHandSocket | None:
    """The socket, in the place of one that was left by an application which is gone. None: it cannot be had here, which
    the log says.
    """
    if not hasattr(socket, "SO_PEERCRED"):
        logger.info("This system does not tell who connects to a socket: models outside the library are for the window")
        return None
    path = own_hand_socket(paths)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        remove_socket(path.parent, path.name)
        listener.bind(str(path))
        path.chmod(0o600)  # before it listens: until then nobody can connect
        return OwnHandSocket(path, listener)
    except OSError as error:
        listener.close()
        logger.warning("'launchdeck deploy' takes models of the library alone: %s cannot be used (%s)", path, error)
        return None


class OwnHandSocket:
    """A socket that is bound, and its place."""

    def __init__(self, path: Path, listener: socket.socket) -> None:
        self.path = path
        self.listener = listener
        self._identity = _identity(path)

    def remove(self) -> None:
        """Take it away, unless another application has put its own there."""
        with contextlib.suppress(OSError):
            if _identity(self.path) == self._identity:
                remove_socket(self.path.parent, self.path.name)


def _identity(path: Path) -> tuple[int, int]:
    status = path.lstat()
    return status.st_dev, status.st_ino
