"""Why an engine failed: how its lines are recognised, and what is said where none was."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from launchdeck.domain.deployment import Exit
from launchdeck.domain.errors import Cause, Failure
from launchdeck.domain.text import Message
from launchdeck.engines.adapter import READY, Findings

EVIDENCE_LINES = 20
_ERROR_LINE = re.compile(r"^[\d.]+ E |(?i:\berror\b|\bfailed\b|\bterminate called\b)|\w+Error: ")


@dataclass(frozen=True, slots=True)
class FailureRule:
    """A needle that must be in the line, the pattern that takes the line apart, and the failure made of its groups."""

    needle: str
    pattern: re.Pattern[str]
    failure: Callable[[re.Match[str]], Failure]


def apply_rules(rules: Sequence[FailureRule], findings: Findings, line: str) -> Findings:
    """The findings with the failure that this line tells of. The first one counts: later lines only repeat it."""
    if findings.failure is not None:
        return findings
    for rule in rules:
        if rule.needle in line and (match := rule.pattern.search(line)):
            return replace(findings, failure=replace(rule.failure(match), evidence=(line.strip(),)))
    return findings


# How the vendors' libraries say that a device is gone or broken (`cudaGetErrorString`, `hipGetErrorString`).
GPU_BROKEN = (
    r"(?:CUDA|ROCm|HIP) error: (?P<reason>uncorrectable ECC error encountered|unknown error"
    r"|CUDA-capable device\(s\) is/are busy or unavailable|no (?:CUDA|ROCm)-capable device is detected"
    r"|hardware stack error)"
)


def gpu_broken(match: re.Match[str]) -> Failure:
    return Failure(
        Cause.GPU_LOST,
        Message("The GPU does not work any more: {reason}.", reason=match["reason"]),
        Message("The kernel's log may say why. Restarting the computer usually brings a GPU back."),
    )


def explain_exit(findings: Findings, ended: Exit, tail: Sequence[str]) -> Failure:
    """The failure that was recognised, with the last lines that speak of errors; or else the exit in words, and all of
    `tail`: nobody knows which of its lines matters.
    """
    lines = [line.strip() for line in tail if line.strip()]
    errors = [line for line in lines if _ERROR_LINE.search(line)][-EVIDENCE_LINES:]
    if findings.failure is not None:
        kept = tuple(line for line in errors if line not in findings.failure.evidence)
        return replace(findings.failure, evidence=findings.failure.evidence + kept)
    cause = Cause.CRASHED if findings.stage == READY else Cause.START_FAILED
    return replace(_exit_in_words(cause, ended), evidence=tuple(lines))


def _exit_in_words(cause: Cause, ended: Exit) -> Failure:
    if ended.signal is None:
        return Failure(
            cause,
            Message("The engine ended by itself with exit status {code}.", code=ended.code),
            Message("Its last lines say more."),
        )
    name = _signal_name(ended.signal)
    if ended.signal == 9:
        return Failure(
            cause,
            Message("The engine was killed ({signal}), possibly because the machine was out of memory.", signal=name),
            Message("Free some memory, or use less context or a smaller model."),
        )
    return Failure(
        cause,
        Message("The engine crashed ({signal}).", signal=name),
        Message("Its last lines say more. If it happens again, try another engine or fewer layers."),
    )


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
