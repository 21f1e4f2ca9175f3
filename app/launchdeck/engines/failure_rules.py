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


# How the vendors' libraries say what is wrong with a device (`cudaGetErrorString`, `hipGetErrorString`, HSA's runtime).
_OF_GPU = r"(?:CUDA|ROCm|HIP) error: "
_GPU_BROKEN = (
    rf"{_OF_GPU}(?P<reason>uncorrectable ECC error encountered|unknown error|hardware stack error"
    r"|no (?:CUDA|ROCm)-capable device is detected)"
)
_GPU_BUSY = rf"{_OF_GPU}CUDA-capable device\(s\) is/are busy or unavailable"
_GPU_WORK_FAILED = (
    rf"{_OF_GPU}(?P<error>unspecified launch failure|an illegal memory access was encountered)"
    r"|HW Exception by GPU node-\d+ .* reason ?: ?(?P<hang>GPU Hang)"
)


def _gpu_broken(match: re.Match[str]) -> Failure:
    return Failure(
        Cause.GPU_LOST,
        Message("The GPU does not work any more: {reason}.", reason=match["reason"]),
        Message("The kernel's log may say why. Restarting the computer usually brings a GPU back."),
    )


def _gpu_busy(_match: re.Match[str]) -> Failure:
    return Failure(
        Cause.START_FAILED,
        Message("The GPU is busy or unavailable."),
        Message(
            "Another program may have it for itself: stop that, or choose another GPU. If there is none, restart the "
            "computer."
        ),
    )


def _gpu_work_failed(match: re.Match[str]) -> Failure:
    """It may be the engine, the driver or the device: nobody can tell by these words."""
    return Failure(
        Cause.CRASHED,
        Message("What the engine computed on the GPU failed: {reason}.", reason=match["error"] or match["hang"]),
        Message(
            "Start the model again. If it fails again, use a newer engine or driver; if other models fail, too, "
            "restart the computer: the kernel's log may say what is wrong with the GPU."
        ),
    )


# The rules (needle, pattern, failure) that every engine's list has.
GPU_RULES: tuple[tuple[str, str, Callable[[re.Match[str]], Failure]], ...] = (
    (" error: ", _GPU_BROKEN, _gpu_broken),
    (" error: ", _GPU_BUSY, _gpu_busy),
    (" error: ", _GPU_WORK_FAILED, _gpu_work_failed),
    ("HW Exception by GPU", _GPU_WORK_FAILED, _gpu_work_failed),
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
