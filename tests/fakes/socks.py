"""A SOCKS5 proxy that knows names nobody else knows, and one that takes a connection and says what it is told to."""

from __future__ import annotations

import socket
import struct
import threading
from contextlib import suppress

_CONNECT, _IPV4, _NAME = 1, 1, 3


class FakeSocks:
    """Leads every connection to `leads_to`, whatever it is asked for. `asked` are the hosts and ports.

    `user` and `password` have to be given where they are set. `reply` is the code of its answer (0: connected), and
    `silent` and `says` are for a proxy that is none: it answers nothing, or always the same.
    """

    def __init__(self, leads_to: tuple[str, int]) -> None:
        self.leads_to = leads_to
        self.asked: list[tuple[str, int]] = []
        self.credentials: list[tuple[str, str]] = []
        self.wants_credentials = False
        self.reply = 0
        self.silent = False
        self.says: bytes | None = None
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        for one in (self._listener, *self._open):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._open.append(client)
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with suppress(OSError, ValueError, IndexError, struct.error), client:
            if self.silent:
                client.recv(1 << 16)
                client.recv(1)  # until the other side goes
                return
            if self.says is not None:
                client.recv(1 << 16)
                client.sendall(self.says)
                return
            self._greet(client)
            self._connect(client)

    def _greet(self, client: socket.socket) -> None:
        _, count = client.recv(2)
        client.recv(count)
        client.sendall(b"\x05\x02" if self.wants_credentials else b"\x05\x00")
        if self.wants_credentials:
            _, length = client.recv(2)
            user = client.recv(length)
            password = client.recv(client.recv(1)[0])
            self.credentials.append((user.decode(), password.decode()))
            client.sendall(b"\x01\x00")

    def _connect(self, client: socket.socket) -> None:
        _, command, _, kind = client.recv(4)
        assert command == _CONNECT
        host = socket.inet_ntoa(client.recv(4)) if kind == _IPV4 else client.recv(client.recv(1)[0]).decode()
        self.asked.append((host, struct.unpack(">H", client.recv(2))[0]))
        client.sendall(bytes([5, self.reply, 0, _IPV4]) + bytes(6))
        if self.reply:
            return
        with socket.create_connection(self.leads_to) as server:
            self._open.append(server)
            threading.Thread(target=self._carry, args=(server, client), daemon=True).start()
            self._carry(client, server)

    def _carry(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                target.sendall(data)
        for one in (source, target):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
