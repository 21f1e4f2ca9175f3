"""What every engine's file answers: what its output means, and why it ended."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from launchdeck.domain.deployment import Applied

if TYPE_CHECKING:
    from collections.abc import Sequence

    from launchdeck.domain.deployment import Exit
    from launchdeck.domain.errors import Failure

# The stages of a start, as every engine's lines are told.
WEIGHTS, CONTEXT, WARMUP, READY = "weights", "context", "warmup", "ready"


@dataclass(frozen=True, slots=True)
class Findings:
    """What an engine's output has told so far.

    `progress` is 0 to 1 and None where the engine does not tell; `failure` is the first fatal thing it said;
    `is_hint`: it may be survived, or have a reason that is said later.
    """

    progress: float | None = None
    stage: str | None = None
    applied: Applied = field(default_factory=Applied)
    failure: Failure | None = None
    is_hint: bool = False


class EngineAdapter(Protocol):
    """Pure: lines in, findings out. One adapter serves any number of deployments."""

    backend: str

    def read_line(self, findings: Findings, line: str) -> Findings:
        """What is known after this line; the same object if the line says nothing."""
        ...

    def explain_exit(self, findings: Findings, ended: Exit, tail: Sequence[str]) -> Failure:
        """Why the engine ended though nobody asked it to: the recognised cause, or the exit in words and the end of
        `tail`, its last lines.
        """
        ...
