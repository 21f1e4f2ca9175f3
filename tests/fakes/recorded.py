"""What engines really said when they failed: the recordings that `data/logs/failures.json` names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from launchdeck.domain.deployment import Exit
from launchdeck.engines.adapter import Findings
from launchdeck.engines.llama.engine import LlamaEngine
from launchdeck.engines.vllm.engine import VllmEngine

if TYPE_CHECKING:
    from launchdeck.domain.errors import Failure, Fix

LOGS = Path(__file__).parents[1] / "data" / "logs"
RECORDED: list[dict[str, Any]] = json.loads((LOGS / "failures.json").read_text(encoding="utf-8"))
ADAPTERS = {"llama-server": LlamaEngine(), "vllm": VllmEngine()}


def lines_of(recorded: dict[str, Any]) -> list[str]:
    if "lines" in recorded:
        return [str(line) for line in recorded["lines"]]
    return (LOGS / recorded["log"]).read_text(encoding="utf-8").splitlines()


def name_of(recorded: dict[str, Any]) -> str:
    return str(recorded.get("log") or recorded["source"].partition("github.com/")[2] or recorded["source"])


def explained(recorded: dict[str, Any]) -> Failure:
    """As the application explains it."""
    lines = lines_of(recorded)
    adapter = ADAPTERS[recorded["engine"]]
    findings = Findings()
    for line in lines:
        findings = adapter.read_line(findings, line)
    return adapter.explain_exit(findings, Exit(1, None), lines)


def offered_fixes() -> list[Fix]:
    """Every fix that any of the failures offers, once."""
    return list(dict.fromkeys(fix for recorded in RECORDED for fix in explained(recorded).fixes))
