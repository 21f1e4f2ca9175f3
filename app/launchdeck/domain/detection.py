"""What became of the search for devices, source by source."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from launchdeck.domain.text import Message


class Outcome(StrEnum):
    """`found`: GPUs; `empty`: it works, but there is no GPU of its kind; `skipped`: nobody needed to ask it;
    `stalled`: it was asked and has not answered yet.
    """

    FOUND = "found"
    EMPTY = "empty"
    NOT_INSTALLED = "not_installed"
    FAILED = "failed"
    SKIPPED = "skipped"
    STALLED = "stalled"


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the detection chain and what came of it; `reason` says why it found nothing, or what it left out.

    `version` is that of the driver that answered, None where it does not tell.
    """

    detector: str
    outcome: Outcome
    reason: Message | None = None
    version: str | None = None
