"""Why an engine ended, as told from what it said and how it went."""

from __future__ import annotations

from pathlib import Path

import pytest

from launchdeck.domain.deployment import Exit
from launchdeck.domain.errors import Cause, Failure
from launchdeck.engines.adapter import READY, EngineAdapter, Findings
from launchdeck.engines.exits import LAST_LINES
from launchdeck.engines.llama.engine import LlamaEngine
from launchdeck.engines.vllm.engine import VllmEngine

LOGS = Path(__file__).parents[2] / "data" / "logs"
LLAMA = LlamaEngine()
LISTENING = "0.00.500.000 I srv  llama_server: listening on http://127.0.0.1:8001"
NO_DRIVER = "ggml_cuda_init: failed to initialize CUDA: CUDA driver version is insufficient for CUDA runtime version"
NO_DEVICE = 'error while handling argument "--device": invalid device: CUDA0'
OUT_OF_MEMORY = "CUDA error: out of memory"
IDLE = "0.01.000.000 I srv  update_slots: all slots are idle"
FAILED, SEGFAULT = Exit(1, None), Exit(None, 11)


def explained(
    *lines: str, adapter: EngineAdapter = LLAMA, ended: Exit = FAILED, known_lines: int | None = None
) -> Failure:
    findings = Findings()
    for line in lines:
        findings = adapter.read_line(findings, line)
    return adapter.explain_exit(findings, ended, lines[-(known_lines or len(lines)) :])


@pytest.mark.parametrize(
    ("ended", "stage", "cause", "words"),
    [
        (Exit(1, None), None, Cause.START_FAILED, "exit status 1"),
        (Exit(0, None), READY, Cause.CRASHED, "exit status 0"),
        (Exit(127, None), None, Cause.START_FAILED, "exit status 127"),
        (Exit(255, None), None, Cause.START_FAILED, "exit status 255"),
        (Exit(None, 11), "weights", Cause.START_FAILED, "crashed (SIGSEGV)"),
        (Exit(None, 11), READY, Cause.CRASHED, "crashed (SIGSEGV)"),
        (Exit(139, None), READY, Cause.CRASHED, "crashed (SIGSEGV)"),
        (Exit(None, 9), READY, Cause.CRASHED, "killed (SIGKILL), possibly because the machine was out of memory"),
        (Exit(137, None), READY, Cause.CRASHED, "killed (SIGKILL), possibly because the machine was out of memory"),
        (Exit(None, 4), None, Cause.ENGINE_UNSUITED, "(SIGILL): it was probably built for a newer CPU"),
        (Exit(None, 7), READY, Cause.CRASHED, "(SIGBUS), possibly because /dev/shm was full"),
        (Exit(None, 15), READY, Cause.CRASHED, "Another program ended the engine (SIGTERM)"),
        (Exit(143, None), READY, Cause.CRASHED, "Another program ended the engine (SIGTERM)"),
        (Exit(None, 63), None, Cause.START_FAILED, "63"),
    ],
)
def test_an_exit_nobody_explained_is_put_into_words(ended: Exit, stage: str, cause: Cause, words: str) -> None:
    failure = LLAMA.explain_exit(Findings(stage=stage), ended, ["one", "", "two"])
    assert failure.cause is cause
    assert words in str(failure)
    assert "{" not in str(failure)
    assert failure.advice is not None
    assert failure.evidence == ("one", "two")


def test_the_evidence_of_an_unexplained_exit_is_all_that_was_said_last() -> None:
    tail = ["srv  init: fine", "0.01.002.003 E srv  something broke", "terminate called after throwing", "done"]
    assert explained(*tail, ended=Exit(None, 6)).evidence == tuple(tail)
    many = [f"line {number}" for number in range(500)]
    assert explained(*many).evidence == tuple(many[-LAST_LINES:])


def test_the_first_errors_are_shown_though_much_was_said_after_them() -> None:
    lines = ["(Worker pid=1) KeyError: 'x'", *(f"line {number}" for number in range(200))]
    assert explained(*lines, adapter=VllmEngine()).evidence == (lines[0], *lines[-LAST_LINES:])


def test_a_recognised_failure_keeps_its_cause_and_gains_the_lines_around_it() -> None:
    failure = explained(*(LOGS / "no_memory_for_cache.log").read_text(encoding="utf-8").splitlines())
    assert failure.cause is Cause.OUT_OF_MEMORY
    assert any("insufficient memory" in line for line in failure.evidence)
    assert len(failure.evidence) == len(set(failure.evidence))


@pytest.mark.parametrize("lines", [(NO_DRIVER, OUT_OF_MEMORY), (OUT_OF_MEMORY, NO_DRIVER)])
def test_a_hint_gives_way_to_what_is_certain(lines: tuple[str, ...]) -> None:
    assert explained(*lines).cause is Cause.OUT_OF_MEMORY


def test_the_first_hint_counts_and_all_that_was_said_last_is_shown() -> None:
    failure = explained(NO_DRIVER, "something else", NO_DEVICE)
    assert "driver is too old" in str(failure)
    assert failure.evidence == (NO_DRIVER, "something else", NO_DEVICE)


def test_what_an_engine_got_over_did_not_end_it() -> None:
    survived = explained(NO_DRIVER, LISTENING, IDLE, ended=SEGFAULT)
    assert survived.cause is Cause.CRASHED
    assert "SIGSEGV" in str(survived)
    lines = [LISTENING, OUT_OF_MEMORY, *[IDLE] * 200]
    assert explained(*lines, ended=SEGFAULT).cause is Cause.OUT_OF_MEMORY
    assert explained(*lines, ended=SEGFAULT, known_lines=100).cause is Cause.CRASHED


def test_what_ended_a_serving_engine_is_told_with_what_it_was_doing() -> None:
    failure = explained(NO_DRIVER, LISTENING, IDLE, OUT_OF_MEMORY, ended=Exit(None, 6))
    assert str(failure.message) == "The GPU ran out of memory while answering requests."
