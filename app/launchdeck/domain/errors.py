"""Failures as values: what happened, to what, what to do, and where possible a fix to click."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from launchdeck.domain.text import Message


class Cause(StrEnum):
    """Why something failed, for programs; the sentence beside it is for people."""

    BAD_REQUEST = "bad_request"
    CONFLICT = "conflict"
    NOT_READY = "not_ready"
    MODEL_UNUSABLE = "model_unusable"
    ENGINE_MISSING = "engine_missing"
    ENGINE_UNSUITED = "engine_unsuited"
    NO_PORT = "no_port"
    PORT_TAKEN = "port_taken"
    OUT_OF_MEMORY = "out_of_memory"
    DISK_FULL = "disk_full"
    START_FAILED = "start_failed"
    STALLED = "stalled"
    CRASHED = "crashed"
    SUPERVISOR_LOST = "supervisor_lost"
    GPU_LOST = "gpu_lost"
    BAD_GPU = "bad_gpu"
    OUTSIDE_LIBRARY = "outside_library"
    BAD_NAME = "bad_name"
    NOT_FOUND = "not_found"


@dataclass(frozen=True, slots=True)
class Fix:
    """A changed request that would help, offered as a button: `changes` are ModelLoadRequest fields."""

    label: Message
    changes: tuple[tuple[str, object], ...]


@dataclass(frozen=True, slots=True)
class Failure:
    """What happened (`message`), what to do (`advice`), and the lines that prove it (`evidence`)."""

    cause: Cause
    message: Message
    advice: Message | None = None
    evidence: tuple[str, ...] = ()
    fixes: tuple[Fix, ...] = ()

    def __str__(self) -> str:
        if self.advice is None:
            return str(self.message)
        message = str(self.message)
        return f"{message} {self.advice}" if message.endswith(".") else f"{message}. {self.advice}"


class LaunchdeckError(Exception):
    """Anything that a person has to be told. The command line prints it and exits 1, the window shows it."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(str(failure))
        self.failure = failure

    @classmethod
    def of(cls, cause: Cause, message: Message, advice: Message | None = None) -> LaunchdeckError:
        """The usual case: no evidence, no fix."""
        return cls(Failure(cause, message, advice))
