"""Why an engine ended: the failure that its lines told of, or else its exit in words and its last lines."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from launchdeck.domain.deployment import Exit
from launchdeck.domain.errors import Cause, Failure
from launchdeck.domain.text import Message
from launchdeck.engines.adapter import READY, Findings
from launchdeck.engines.failure_rules import Rules

Reader = Callable[[Findings, str], Findings]

LAST_LINES: Final = 50
_ERROR_LINES: Final = 20
_FIRST_ERRORS: Final = 5
_ERROR_LINE = re.compile(r"^[\d.]+ E |(?i:\berror\b|\bfailed\b|\bterminate called\b)|\w+Error: ")
_RAISED = re.compile(r"\b\w+(?:Error|Exception): ")


@dataclass(frozen=True, slots=True)
class _Words:
    """{signal} is its name."""

    message: Message
    advice: Message


_ILLEGAL: Final = "SIGILL"
_ENDED = _Words(Message("Another program ended the engine ({signal})."), Message("Start the model again."))
_SIGNALS = {
    "SIGKILL": _Words(
        Message("The engine was killed ({signal}), possibly because the machine was out of memory."),
        Message("Free some memory, or use less context or a smaller model."),
    ),
    _ILLEGAL: _Words(
        Message("The engine crashed ({signal}): it was probably built for a newer CPU than this one."),
        Message("Use an engine built for this CPU, such as the one that comes with Launchdeck."),
    ),
    "SIGBUS": _Words(
        Message(
            "The engine crashed ({signal}), possibly because /dev/shm was full or the model's file could not be read."
        ),
        Message("See that /dev/shm has room (in a container: --shm-size), and that the model's disk works."),
    ),
    "SIGTERM": _ENDED,
    "SIGINT": _ENDED,
    "SIGHUP": _ENDED,
}
_ANY_SIGNAL = _Words(
    Message("The engine crashed ({signal})."),
    Message("Its last lines say more. If it happens again, try another engine or fewer layers."),
)
# How a shell, or a container, tells that what it ran was ended by a signal.
_SIGNALLED: Final = 128


def explain_exit(rules: Rules, read_log_line: Reader, findings: Findings, ended: Exit, tail: Sequence[str]) -> Failure:
    """The failure that was recognised, with the last lines that speak of errors; or else the exit in words. Then, and
    after a mere hint, all of the last lines are the evidence: nobody knows which one matters.

    `tail` is longer than what is shown: between the cause and the end each of vLLM's processes may say all it knows.
    """
    if findings.stage == READY:
        findings = _read_again(rules, read_log_line, findings, tail)
    lines = [line.strip() for line in tail if line.strip()]
    last = lines[-LAST_LINES:]
    if findings.failure is None:
        cause = Cause.CRASHED if findings.stage == READY else Cause.START_FAILED
        return replace(_in_words(cause, ended), evidence=(*_raised_before(lines), *last))
    known = findings.failure.evidence
    if findings.is_hint:
        shown = [*_raised_before(lines), *last]
    else:
        shown = [line for line in last if _ERROR_LINE.search(line)][-_ERROR_LINES:]
    return replace(findings.failure, evidence=(*known, *(line for line in shown if line not in known)))


def _raised_before(lines: Sequence[str]) -> list[str]:
    """The first errors, where so much was said after them that the last lines do not show them."""
    return [line for line in lines[:-LAST_LINES] if _RAISED.search(line)][:_FIRST_ERRORS]


def _read_again(rules: Rules, read_log_line: Reader, findings: Findings, tail: Sequence[str]) -> Findings:
    """What an engine got over before it was ready, or long before it ended, did not end it."""
    unexplained = findings = replace(findings, failure=None, is_hint=False)
    for line in tail:
        is_ready = read_log_line(Findings(), line).stage == READY
        findings = unexplained if is_ready else rules.apply(findings, line)
    return findings


def _in_words(cause: Cause, ended: Exit) -> Failure:
    number = _signal_of(ended)
    if number is None:
        message = Message("The engine ended by itself with exit status {code}.", code=ended.code)
        return Failure(cause, message, Message("Its last lines say more."))
    name = _signal_name(number)
    known = _SIGNALS.get(name, _ANY_SIGNAL)
    cause = Cause.ENGINE_UNSUITED if name == _ILLEGAL else cause
    return Failure(cause, Message(known.message.template, signal=name), known.advice)


def _signal_of(ended: Exit) -> int | None:
    if ended.signal is not None or ended.code is None:
        return ended.signal
    number = ended.code - _SIGNALLED
    return number if number in set(signal.Signals) else None


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
