"""Every way in which an engine says that something is wrong, by what it really said.

`data/logs/failures.json` names the recordings: whole logs of failures provoked with the real engines, and lines of GPUs
and machines that are not at hand, each with the thread it was shown in or the place in the engine's source.
"""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import Any

import pytest

from fakes.recorded import ADAPTERS, LOGS, RECORDED, explained, lines_of, name_of
from launchdeck.domain.errors import Cause
from launchdeck.domain.request import ModelLoadRequest
from launchdeck.engines.adapter import READY, Findings
from launchdeck.engines.failure_rules import FailureRule
from launchdeck.engines.llama.failures import RULES as LLAMA_RULES
from launchdeck.engines.vllm.failures import RULES as VLLM_RULES
from launchdeck.serving.records.codec import to_json

RULES = {"llama-server": LLAMA_RULES, "vllm": VLLM_RULES}
GOOD_STARTS = {
    "llama-server": ("cpu", "embedded", "embedding", "two_rpc_workers", "quantised_cache"),
    "vllm": ("vllm/cpu", "vllm/embedding"),
}
REQUEST = ModelLoadRequest(Path("model.gguf"))


@functools.cache
def rules_proved() -> dict[int, list[tuple[re.Match[str], str]]]:
    """By the rule's identity: where it is the one that knows a recorded line."""
    proved: dict[int, list[tuple[re.Match[str], str]]] = {}
    for recorded in RECORDED:
        for line in lines_of(recorded):
            if found := RULES[recorded["engine"]].matching(line):
                proved.setdefault(id(found[0]), []).append((found[1], name_of(recorded)))
    return proved


def distinct_rules() -> list[FailureRule]:
    """Those that both engines have in common once."""
    return list({id(known): known for rules in RULES.values() for known in rules.all}.values())


@pytest.mark.parametrize("recorded", RECORDED, ids=name_of)
def test_a_recorded_failure_is_explained(recorded: dict[str, Any]) -> None:
    failure = explained(recorded)
    assert failure.cause is Cause(recorded["cause"])
    assert recorded["words"] in str(failure.message)
    assert "{" not in str(failure)
    assert "None" not in str(failure)
    assert failure.advice is not None
    assert failure.evidence[0] in {line.strip() for line in lines_of(recorded)}
    changes = [{name: to_json(value) for name, value in fix.changes} for fix in failure.fixes]
    assert changes == recorded["fixes"]
    for fix in failure.fixes:
        assert all(hasattr(REQUEST, name) for name, _ in fix.changes)
        assert "{" not in str(fix.label)


@pytest.mark.parametrize("known", distinct_rules(), ids=lambda known: f"{known.needle}-{known.pattern.pattern[:40]}")
def test_every_rule_has_a_recording_and_no_alternatives(known: FailureRule) -> None:
    assert "|" not in known.pattern.pattern.replace("\\|", "")
    found = rules_proved().get(id(known), [])
    assert found, "nothing that was recorded is known by this rule"
    for name in known.pattern.groupindex:
        assert any(match[name] for match, _ in found), f"no recording has {name}"


@pytest.mark.parametrize(("engine", "name"), [(engine, name) for engine in GOOD_STARTS for name in GOOD_STARTS[engine]])
def test_no_rule_speaks_up_in_a_good_start(engine: str, name: str) -> None:
    findings = Findings()
    said = []
    for line in (LOGS / f"{name}.log").read_text(encoding="utf-8").splitlines():
        findings = ADAPTERS[engine].read_line(findings, line)
        said += [line] if RULES[engine].matching(line) else []
    assert findings.stage == READY
    assert said == []


def test_every_log_is_used() -> None:
    used = {recorded["log"] for recorded in RECORDED if "log" in recorded}
    used |= {f"{name}.log" for names in GOOD_STARTS.values() for name in names}
    assert {str(path.relative_to(LOGS)) for path in LOGS.rglob("*.log")} == used


def test_both_engines_know_what_the_system_and_the_makers_of_gpus_say() -> None:
    common = {id(known) for known in LLAMA_RULES.all} & {id(known) for known in VLLM_RULES.all}
    proved = 0
    for recorded in RECORDED:
        for line in lines_of(recorded):
            found = [rules.matching(line) for rules in RULES.values()]
            if found[0] and id(found[0][0]) in common:
                assert found[1]
                proved += 1
    assert proved >= len(common)
