"""Telling the log once: folders are looked through again and again, and what is wrong with one stays the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import logging

_MOST_KEPT: Final = 10_000

_told: dict[str, None] = {}


def tell_once(log: logging.Logger, text: str, *values: object) -> None:
    """Warn, unless this process has warned in the same words before."""
    sentence = text % values
    if sentence in _told:
        return
    while len(_told) >= _MOST_KEPT:
        _told.pop(next(iter(_told)), None)
    _told[sentence] = None
    log.warning("%s", sentence)
