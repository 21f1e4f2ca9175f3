"""The values of options, read strictly: what cannot be read is wrong usage, told in words."""

from __future__ import annotations

import shlex
from argparse import ArgumentTypeError
from typing import Final, NamedTuple

from launchdeck.domain.gpu import LONGEST_UUID
from launchdeck.domain.request import ALL_LAYERS, CPU_ONLY, EVEN_SPLIT, MOST_GPUS

MAX_PORT: Final = 65535
MAX_LOG_LINES: Final = 10_000
MAX_MIB: Final = 1 << 20
_RPC_PREFIX: Final = "rpc:"


class Devices(NamedTuple):
    """GPUs by their places, UUIDs or PCI addresses, and RPC workers ("host:port") to be used after them."""

    gpus: tuple[str, ...]
    rpc_workers: tuple[str, ...] = ()


def devices(text: str) -> Devices:
    """Of "0,1", "GPU-4f…,01:00.0", "cpu" or "rpc:host:port". Raises ArgumentTypeError, as all of these do.

    Whether there are such GPUs is for whoever knows the machine to say.
    """
    if text.lower() == "cpu":
        return Devices(CPU_ONLY)
    words = [word.strip() for word in text.split(",")]
    workers = tuple(word.removeprefix(_RPC_PREFIX) for word in words if word.startswith(_RPC_PREFIX))
    gpus = tuple(word for word in words if not word.startswith(_RPC_PREFIX))
    if len(gpus) > MOST_GPUS or not all(1 <= len(gpu) <= LONGEST_UUID for gpu in gpus):
        raise _unreadable(text, "places, UUIDs or PCI addresses joined by commas, or cpu")
    return Devices(gpus, workers)


def layers(text: str) -> int | None:
    """How many; None where Launchdeck is to find out."""
    if text == "auto":
        return None
    try:
        return ALL_LAYERS if text == "all" else int(text)
    except ValueError:
        raise _unreadable(text, "a number, all or auto") from None


def split(text: str) -> tuple[float, ...]:
    """Shares of several devices."""
    try:
        return EVEN_SPLIT if text == "even" else tuple(map(float, text.split(",")))
    except ValueError:
        raise _unreadable(text, "numbers joined by commas, or even") from None


def words(text: str) -> tuple[str, ...]:
    """As a shell would take them apart."""
    try:
        return tuple(shlex.split(text))
    except ValueError:
        raise _unreadable(text, "words, with every quote closed") from None


def port(text: str) -> int:
    """0 means any that is free."""
    return _within(text, 0, MAX_PORT)


def line_count(text: str) -> int:
    """Of a log."""
    return _within(text, 1, MAX_LOG_LINES)


def mebibytes(text: str) -> int:
    """Of memory."""
    return _within(text, 0, MAX_MIB)


def _within(text: str, low: int, high: int) -> int:
    wanted = f"a whole number from {low} to {high}"
    try:
        number = int(text)
    except ValueError:
        raise _unreadable(text, wanted) from None
    if not low <= number <= high:
        raise _unreadable(text, wanted)
    return number


def _unreadable(text: str, wanted: str) -> ArgumentTypeError:
    return ArgumentTypeError(f"{text!r} is not {wanted}")
