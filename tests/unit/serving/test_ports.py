"""Real sockets on real ports: which count as free, and whose they are."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from fakes.serving import free_port
from launchdeck.domain.errors import Cause, LaunchdeckError
from launchdeck.serving.health.readiness import Owner, owner_of_port
from launchdeck.serving.port_table import PortTable
from launchdeck.serving.sockets import is_port_free, listeners, rows_of_port

if TYPE_CHECKING:
    from collections.abc import Iterator

LOOPBACK = "127.0.0.1"


@pytest.fixture
def resources() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def bound(stack: ExitStack, port: int, host: str = LOOPBACK, *options: int, listens: bool = True) -> socket.socket:
    sock = stack.enter_context(socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET))
    for option in options:
        sock.setsockopt(socket.SOL_SOCKET, option, 1)
    sock.bind((host, port))
    if listens:
        sock.listen()
    return sock


def leave_time_wait(port: int) -> None:
    """A connection that the server's side ended first."""
    with ExitStack() as stack:
        server = bound(stack, port, LOOPBACK, socket.SO_REUSEADDR)
        client = stack.enter_context(socket.create_connection((LOOPBACK, port)))
        connection, _ = server.accept()
        connection.close()
        client.recv(1)


def test_a_port_nobody_has_is_free() -> None:
    assert is_port_free(LOOPBACK, free_port())


@pytest.mark.parametrize("listens", [True, False])
@pytest.mark.parametrize("options", [(), (socket.SO_REUSEADDR,), (socket.SO_REUSEPORT,)])
@pytest.mark.parametrize("host", [LOOPBACK, "0.0.0.0"])
def test_fault_16_a_port_somebody_has_is_not_free(
    resources: ExitStack, listens: bool, options: tuple[int, ...], host: str
) -> None:
    port = free_port()
    bound(resources, port, host, *options, listens=listens)
    assert not is_port_free(LOOPBACK, port)


def test_fault_16_a_port_in_time_wait_is_free() -> None:
    port = free_port()
    leave_time_wait(port)
    assert [row.state for row in rows_of_port(port)] == [6]
    with socket.socket() as plain, pytest.raises(OSError, match="in use"):
        plain.bind((LOOPBACK, port))
    assert is_port_free(LOOPBACK, port)


def test_fault_16_a_port_whose_server_is_gone_is_free_though_a_client_has_not_hung_up(resources: ExitStack) -> None:
    port = free_port()
    with bound(resources, port, LOOPBACK, socket.SO_REUSEADDR) as server:
        resources.enter_context(socket.create_connection((LOOPBACK, port)))
        connection, _ = server.accept()
        connection.close()
    assert [row.is_past for row in rows_of_port(port)] == [True]
    assert rows_of_port(port)[0].state in {4, 5}, "the client has not ended its half"
    assert is_port_free(LOOPBACK, port)


def test_a_port_with_a_connection_that_a_process_still_has_is_not_free(resources: ExitStack) -> None:
    port = free_port()
    with bound(resources, port, LOOPBACK, socket.SO_REUSEADDR) as server:
        resources.enter_context(socket.create_connection((LOOPBACK, port)))
        resources.enter_context(server.accept()[0]).shutdown(socket.SHUT_WR)
    assert not is_port_free(LOOPBACK, port)


def test_a_port_in_time_wait_that_somebody_has_again_is_not_free(resources: ExitStack) -> None:
    port = free_port()
    leave_time_wait(port)
    bound(resources, port, LOOPBACK, socket.SO_REUSEADDR)
    assert not is_port_free(LOOPBACK, port)


def test_a_listening_socket_belongs_to_its_process(resources: ExitStack) -> None:
    port = free_port()
    assert owner_of_port(LOOPBACK, port, [os.getpid()]) is Owner.NOBODY
    bound(resources, port)
    assert owner_of_port(LOOPBACK, port, [os.getpid()]) is Owner.OURS
    assert owner_of_port(LOOPBACK, port, [os.getppid()]) is Owner.FOREIGN
    assert owner_of_port(LOOPBACK, port, []) is Owner.FOREIGN


def test_a_port_shared_with_another_process_is_foreign(resources: ExitStack) -> None:
    port = free_port()
    bound(resources, port, LOOPBACK, socket.SO_REUSEPORT)
    code = (
        "import socket, sys; s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1);"
        f"s.bind(('{LOOPBACK}', {port})); s.listen(); print('up', flush=True); sys.stdin.read()"
    )
    other = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert other.stdout.readline() == b"up\n"
    assert owner_of_port(LOOPBACK, port, [os.getpid()]) is Owner.FOREIGN
    assert owner_of_port(LOOPBACK, port, [os.getpid(), other.pid]) is Owner.OURS
    other.communicate()


def test_the_most_exact_address_answers(resources: ExitStack) -> None:
    port = free_port()
    wildcard = bound(resources, port, "0.0.0.0", socket.SO_REUSEPORT)
    assert listeners(LOOPBACK, port) == {os.fstat(wildcard.fileno()).st_ino}
    exact = bound(resources, port, LOOPBACK, socket.SO_REUSEPORT)
    assert listeners(LOOPBACK, port) == {os.fstat(exact.fileno()).st_ino}
    assert listeners("127.0.0.2", port) == {os.fstat(wildcard.fileno()).st_ino}


def test_a_listener_on_ipv6_that_takes_ipv4_counts(resources: ExitStack) -> None:
    port = free_port()
    try:
        both = bound(resources, port, "::")
    except OSError as error:
        pytest.skip(f"no IPv6 here: {error}")
    assert listeners(LOOPBACK, port) == {os.fstat(both.fileno()).st_ino}


def test_the_table_gives_every_port_once(tmp_path: Path, resources: ExitStack) -> None:
    port = free_port()
    table = PortTable(tmp_path / "runtime")
    assert table.suggest(range(port, port + 1)) == port
    assert table.reserve(range(port, port + 1)) == port
    assert table.suggest(range(port, port + 1)) is None
    with pytest.raises(LaunchdeckError, match=r"No available ports \(max 1 models reached\)") as refused:
        table.reserve(range(port, port + 1))
    assert refused.value.failure.cause is Cause.NO_PORT
    table.release(port)
    assert table.reserve(range(port, port + 1)) == port
    table.release(port)


def test_another_instance_gets_another_port(tmp_path: Path) -> None:
    ports = range(free_port(), 65536)
    ours, theirs = PortTable(tmp_path), PortTable(tmp_path)
    first = ours.reserve(ports)
    second = theirs.reserve(ports)
    assert second != first
    ours.release(first)
    assert theirs.reserve(ports) == first
    for port in (first, second):
        theirs.release(port)


def test_fault_16_a_foreign_listener_is_skipped(tmp_path: Path, resources: ExitStack) -> None:
    port = free_port()
    bound(resources, port)
    table = PortTable(tmp_path)
    given = table.reserve(range(port, 65536))
    assert given > port
    table.release(given)


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo, lambda path: path.symlink_to("/dev/null")])
def test_a_port_whose_lock_file_is_none_is_left_out_and_told(tmp_path: Path, make, caplog) -> None:
    other = PortTable(tmp_path)
    first = other.reserve(range(free_port(), 65536))
    make(tmp_path / f"port-{first + 1}.lock")
    table = PortTable(tmp_path)
    table.adopt(first + 1)
    table.release(first + 1)
    given = table.reserve(range(first + 1, 65536))
    assert given > first + 1
    assert table.suggest(range(first + 1, 65536)) not in {first + 1, given}
    assert [record.getMessage() for record in caplog.records if f"Port {first + 1} is left out" in record.message] != []
    assert len(caplog.records) == 1
    table.release(given)
    other.release(first)


def test_where_no_lock_file_can_be_made_the_disk_is_the_reason(tmp_path: Path) -> None:
    (tmp_path / "runtime").touch()
    port = free_port()
    with pytest.raises(OSError, match="exists"):
        PortTable(tmp_path / "runtime").reserve(range(port, port + 1))


def test_a_port_is_given_again_once_its_lock_file_is_mended(tmp_path: Path) -> None:
    port = free_port()
    (tmp_path / f"port-{port}.lock").mkdir()
    table = PortTable(tmp_path)
    with pytest.raises(OSError, match="not a file"):
        table.reserve(range(port, port + 1))
    (tmp_path / f"port-{port}.lock").rmdir()
    assert table.reserve(range(port, port + 1)) == port
    table.release(port)


def test_a_port_that_two_records_name_is_locked_once_and_given_back(tmp_path: Path) -> None:
    """The second used to throw the first one's lock away, which was then held until the end of the process."""
    port = free_port()
    table = PortTable(tmp_path)
    table.adopt(port)
    table.adopt(port)
    table.release(port)
    assert PortTable(tmp_path).reserve(range(port, port + 1)) == port
