"""How engines say that a GPU is broken or taken: lines of real logs, each with the thread it was shown in."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from launchdeck.domain.errors import Cause
from launchdeck.engines.adapter import Findings
from launchdeck.engines.llama_server import LlamaServerAdapter
from launchdeck.engines.vllm import VLLMAdapter

RECORDED = json.loads((Path(__file__).parents[2] / "data" / "logs" / "gpu_errors.json").read_text(encoding="utf-8"))
ADAPTERS = {"llama-server": LlamaServerAdapter(), "vllm": VLLMAdapter()}


@pytest.mark.parametrize("recorded", RECORDED, ids=lambda recorded: recorded["source"].partition("github.com/")[2])
def test_what_is_wrong_with_a_gpu_is_recognised(recorded: dict[str, str]) -> None:
    failure = ADAPTERS[recorded["engine"]].read_line(Findings(), recorded["line"]).failure
    assert failure is not None
    assert failure.cause is Cause(recorded["cause"])
    assert "{" not in str(failure)
    assert "None" not in str(failure)
    assert failure.advice is not None
    assert failure.evidence == (recorded["line"],)


def test_both_engines_know_all_of_them() -> None:
    for recorded in RECORDED:
        failures = [adapter.read_line(Findings(), recorded["line"]).failure for adapter in ADAPTERS.values()]
        assert failures[0] == failures[1] is not None
