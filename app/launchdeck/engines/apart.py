"""The search for engines where one of the places to look at may never answer: that one is left out, and told."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final, TypeVar

from launchdeck.files.apart import NoAnswerError, call_apart

logger = logging.getLogger(__name__)

_T = TypeVar("_T")

_LOOK_PATIENCE_S: Final = 5.0
_PLACES: Final = 8


def look_apart(look: Callable[[], _T]) -> _T | None:
    """What a look gives that does without the places that do not answer. None: it has come to no end, or met too many
    of them; the log says so.
    """
    try:
        return call_apart(look, _LOOK_PATIENCE_S, rounds=_PLACES)
    except NoAnswerError as error:
        logger.warning("The search for engines was given up: %s does not answer", error.place)
        return None


def ask_apart(ask: Callable[[], _T], timeout_s: float) -> _T:
    """What a program answers within its own timeout. One on a disk that is away cannot even be started, and no timeout
    ends that.

    Raises:
        NoAnswerError: that is so.
    """
    return call_apart(ask, timeout_s + _LOOK_PATIENCE_S)
