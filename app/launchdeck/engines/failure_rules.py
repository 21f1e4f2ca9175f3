"""How an engine's lines are recognised as a failure: rules, which are data, and what applies them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from string import Formatter
from typing import TYPE_CHECKING

from launchdeck.domain.text import Message
from launchdeck.engines.adapter import CONTEXT, READY, WARMUP, WEIGHTS, Findings

if TYPE_CHECKING:
    from launchdeck.domain.errors import Failure, Fix

Fixes = Callable[[re.Match[str]], "tuple[Fix, ...]"]

_STAGES = {
    None: Message("starting up"),
    WEIGHTS: Message("loading the weights"),
    CONTEXT: Message("making the KV cache"),
    WARMUP: Message("warming up"),
    READY: Message("answering requests"),
}


@dataclass(frozen=True, slots=True)
class FailureRule:
    """One way in which an engine says what is wrong.

    `needle` has to be in the line and `pattern` to match in it. What the pattern's groups found goes into the places of
    the failure's sentences that have their names; {stage} is what the engine was doing. `fixes`, made of the same
    groups, take the place of the failure's own. A pattern has no alternatives: each one is a rule of its own, so that
    each one has a recording.

    A hint may be survived, or have a reason that is said later: it gives way to whatever is certain.
    """

    needle: str
    pattern: re.Pattern[str]
    failure: Failure
    fixes: Fixes | None = None
    is_hint: bool = False

    def explain(self, match: re.Match[str], stage: str | None) -> Failure:
        """The failure, with what this line tells of it."""
        values = {name: value or "?" for name, value in match.groupdict().items()} | {"stage": _STAGES[stage]}
        failure = self.failure
        return replace(
            failure,
            message=_filled(failure.message, values),
            advice=failure.advice and _filled(failure.advice, values),
            evidence=(match.string.strip(),),
            fixes=self.fixes(match) if self.fixes else failure.fixes,
        )


def _filled(message: Message, values: Mapping[str, object]) -> Message:
    """With the values that it has places for."""
    named = {name for _, name, _, _ in Formatter().parse(message.template) if name}
    return Message(message.template, **{name: values[name] for name in named})


def rule(
    failure: Failure, needle: str, pattern: str | None = None, fixes: Fixes | None = None, *, is_hint: bool = False
) -> FailureRule:
    """A rule; without a pattern the needle is all of it."""
    return FailureRule(needle, re.compile(pattern or re.escape(needle)), failure, fixes, is_hint)


def hint(failure: Failure, needle: str, pattern: str | None = None, fixes: Fixes | None = None) -> FailureRule:
    """A rule that gives way to one that is certain."""
    return rule(failure, needle, pattern, fixes, is_hint=True)


class Rules:
    """The rules of one engine, in the order in which they are tried: what is more exact before what is more general."""

    def __init__(self, *rules: FailureRule) -> None:
        self.all = rules
        # Every line of every engine comes by here, and nearly none has any of the needles.
        self._by_needle = tuple((known.needle, known) for known in rules)

    def matching(self, line: str) -> tuple[FailureRule, re.Match[str]] | None:
        """The first of the rules that knows this line."""
        for needle, known in self._by_needle:
            if needle in line and (match := known.pattern.search(line)):
                return known, match
        return None

    def apply(self, findings: Findings, line: str) -> Findings:
        """The findings with the failure that this line tells of; the same object if it tells of none.

        The first one counts, for later lines only repeat it, and of a hint and a certain one the certain one.
        """
        if findings.failure is not None and not findings.is_hint:
            return findings
        found = self.matching(line)
        if found is None:
            return findings
        known, match = found
        if findings.failure is not None and known.is_hint:
            return findings
        return replace(findings, failure=known.explain(match, findings.stage), is_hint=known.is_hint)
