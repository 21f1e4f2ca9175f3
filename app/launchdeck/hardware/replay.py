"""A recorded inventory in place of this machine's: for support cases and demonstrations."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

from launchdeck.domain.errors import Cause, LaunchdeckError
from launchdeck.domain.gpu import GpuReading, Inventory
from launchdeck.domain.text import Message
from launchdeck.files.reading import LIMIT_BYTES, parse_json, read_bytes
from launchdeck.hardware.document import from_document

_OPENED_FOR_US = ("/dev/fd/", "/dev/stdin", "/proc/self/fd/")


class ReplaySource:
    """Gives the same readings again and again, each time as if taken now."""

    def __init__(self, inventory: Inventory) -> None:
        self.inventory = inventory

    @classmethod
    def open(cls, path: Path) -> ReplaySource:
        """The inventory that `launchdeck gpus --json` wrote into a file.

        Raises:
            LaunchdeckError: the file cannot be read, is no JSON, or is no inventory.
        """
        try:
            document = parse_json(_read(path))
        except OSError as error:
            reason = error.strerror or str(error)
            raise LaunchdeckError.of(
                Cause.BAD_REQUEST, Message("{path} cannot be read: {reason}.", path=path, reason=reason)
            ) from error
        except ValueError as error:
            raise LaunchdeckError.of(
                Cause.BAD_REQUEST,
                Message("{path} is no recorded inventory: {reason}.", path=path, reason=error),
                Message("Record it again with 'launchdeck gpus --json'."),
            ) from error
        return cls(from_document(document))

    def read(self) -> Inventory:
        now_s = time.time()

        def at_now(reading: GpuReading) -> GpuReading:
            return replace(reading, sample=replace(reading.sample, sampled_at_s=now_s))

        gpus = tuple(at_now(reading) for reading in self.inventory.gpus)
        return replace(self.inventory, gpus=gpus, cpu=at_now(self.inventory.cpu), sampled_at_s=now_s)

    def refresh(self) -> None:
        """What was recorded stays what it is."""

    def close(self) -> None:
        """Nothing is held open."""


def _read(path: Path) -> bytes:
    """What a shell has opened for us may be a pipe, `<(ssh host launchdeck gpus --json)` or standard input; a pipe that
    lies somewhere may have nobody at its other end.

    Raises OSError, and ValueError for what has no end, or a late one.
    """
    if not str(path).startswith(_OPENED_FOR_US):
        return read_bytes(path)
    with path.open("rb") as file:
        data = file.read(LIMIT_BYTES + 1)
    if len(data) > LIMIT_BYTES:
        raise ValueError(f"it has more than {LIMIT_BYTES} bytes")
    return data
