"""The little that a service needs of systemd, by its protocols: no library is there for twenty lines.

Sources: sd_notify(3) for readiness, sd-daemon(3) for priorities, systemd.exec(5) for JOURNAL_STREAM.
"""

from __future__ import annotations

import logging
import os
import socket
from typing import TextIO

from launchdeck.commands.output import LogFormatter

logger = logging.getLogger(__name__)


def notify(state: str) -> None:
    """Tell the service manager, where one listens. That it does not hear us is no reason to end."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notifying:
            notifying.connect(address)
            notifying.sendall(state.encode())
    except OSError as error:
        logger.warning("The service manager at %s was not told %r: %s", os.environ["NOTIFY_SOCKET"], state, error)


def writes_to_journal(stream: TextIO) -> bool:
    """Whether this stream leads to the journal itself, and not to a terminal or a file."""
    status = os.fstat(stream.fileno())
    return os.environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


class JournalFormatter(LogFormatter):
    """A priority before every line, and no time: the journal has its own."""

    def __init__(self) -> None:
        super().__init__("%(name)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        return "\n".join(f"<{_priority(record.levelno)}>{line}" for line in text.splitlines())


def _priority(level: int) -> int:
    """syslog's: 3 error, 4 warning, 6 information, 7 debugging."""
    if level >= logging.ERROR:
        return 3
    if level >= logging.WARNING:
        return 4
    return 6 if level >= logging.INFO else 7
