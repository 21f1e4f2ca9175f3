"""The values of options, read strictly: what cannot be read is wrong usage, told in words."""

from __future__ import annotations

import shlex
from argparse import ArgumentTypeError
from typing import Final, NamedTuple

from launchdeck.domain.request import ALL_LAYERS, CPU_ONLY, EVEN_SPLIT

MAX_PORT: Final = 65535
MAX_LOG_LINES: Final = 10_000
MAX_MIB: Final = 1 << 20
_RPC_PREFIX: Final = "rpc:"


class Devices(NamedTuple):
    """Places in the list of GPUs, and RPC workers ("host:port") to be used after them."""

    gpu_indices: tuple[int, ...]
    rpc_workers: tuple[str, ...] = ()


def devices(text: str) -> Devices:
    """Of "0,1", "cpu" or "rpc:host:port". Raises ArgumentTypeError, as all of these do."""
    if text.lower() == "cpu":
        return Devices(CPU_ONLY)
    words = text.split(",")
    workers = tuple(word.removeprefix(_RPC_PREFIX) for word in words if word.startswith(_RPC_PREFIX))
    indices = (word for word in words if not word.startswith(_RPC_PREFIX))
    try:
        return Devices(tuple(map(int, indices)), workers)
    except ValueError:
        raise _unreadable(text, "numbers joined by commas, or cpu") from None


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
