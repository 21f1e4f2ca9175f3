"""TCP sockets as Linux tells of them: who listens on a port, and whether the port can be bound."""

from __future__ import annotations

import contextlib
import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from launchdeck.serving.ports import is_free

if TYPE_CHECKING:
    from collections.abc import Iterable

_LISTEN: Final = 0x0A
_ENDING: Final = frozenset({0x04, 0x05, 0x06, 0x09, 0x0B})  # FIN_WAIT1, FIN_WAIT2, TIME_WAIT, LAST_ACK, CLOSING
_TABLES: Final = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))


@dataclass(frozen=True, slots=True)
class TcpRow:
    """A line of the kernel's table. `address` is in the table's own hexadecimal; `inode` 0: no process has it."""

    address: str
    state: int
    inode: int

    @property
    def is_past(self) -> bool:
        """Whether only the kernel still knows of this connection: it waits, or its client has yet to hang up."""
        return self.inode == 0 and self.state in _ENDING


def rows_of_port(port: int) -> list[TcpRow]:
    """Every socket with this local port. One that is bound and does not listen is in no table."""
    ending = f":{port:04X}"
    rows = []
    for table in _TABLES:
        with contextlib.suppress(FileNotFoundError):  # a machine without IPv6
            for line in table.read_text().splitlines()[1:]:
                fields = line.split()
                if fields[1].endswith(ending):
                    rows.append(TcpRow(fields[1][: -len(ending)], int(fields[3], 16), int(fields[9])))
    return rows


def listeners(host: str, port: int) -> frozenset[int]:
    """The inodes of the sockets among which the kernel chooses for a connection to this IPv4 address.

    The most exact address takes all: the address itself, the same in IPv6's clothes, then the wildcards.
    """
    address = _word(socket.inet_aton(host))
    mapped = "0" * 16 + _word(b"\0\0\xff\xff") + address
    rows = [row for row in rows_of_port(port) if row.state == _LISTEN]
    for wanted in (address, mapped, "0" * 8, "0" * 32):
        found = frozenset(row.inode for row in rows if row.address == wanted)
        if found:
            return found
    return frozenset()


def _word(four_bytes: bytes) -> str:
    """As the table writes it: the bytes of the network as one number of this machine."""
    return f"{int.from_bytes(four_bytes, sys.byteorder):08X}"


def sockets_of(pids: Iterable[int]) -> frozenset[int]:
    """The inodes of all sockets that these processes hold."""
    inodes = set()
    for pid in pids:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError, PermissionError):
            for handle in Path(f"/proc/{pid}/fd").iterdir():
                with contextlib.suppress(FileNotFoundError):
                    kind, _, inode = str(handle.readlink()).partition(":[")
                    if kind == "socket":
                        inodes.add(int(inode.rstrip("]")))
    return frozenset(inodes)


def holder_of_port(host: str, port: int) -> tuple[int, str] | None:
    """The process that listens there, as pid and name; None: nobody, or one that we may not look into."""
    wanted = listeners(host, port)
    for folder in Path("/proc").iterdir() if wanted else ():
        if folder.name.isdigit() and wanted & sockets_of((int(folder.name),)):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                return int(folder.name), (folder / "comm").read_text().strip()
    return None


def is_port_free(host: str, port: int) -> bool:
    """Whether an engine could bind it now; see planning.ports.is_free."""
    return is_free(
        can_bind=lambda reuse: _can_bind(host, port, reuse=reuse),
        is_waiting=lambda: _is_waiting(rows_of_port(port)),
    )


def _is_waiting(rows: list[TcpRow]) -> bool:
    return bool(rows) and all(row.is_past for row in rows)


def _can_bind(host: str, port: int, *, reuse: bool) -> bool:
    with socket.socket() as probe:
        try:
            if reuse:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
            if reuse:
                probe.listen(1)
        except OSError:
            return False
    return True
