"""llama-server, the engine of llama.cpp: what its output means, and why it ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

from launchdeck.domain.plan import EngineKind
from launchdeck.engines.exits import explain_exit
from launchdeck.engines.llama.failures import RULES
from launchdeck.engines.llama.log import read_log_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from launchdeck.domain.deployment import Exit
    from launchdeck.domain.errors import Failure
    from launchdeck.engines.adapter import Findings


class LlamaServerAdapter:
    """Reads what llama-server writes with `llama_argv.VERBOSITY` and `llama_argv.PROGRESS_ENV`, and without them.

    The embedded engine is the same server and speaks the same language.
    """

    def __init__(self, kind: EngineKind = EngineKind.LLAMA_SERVER) -> None:
        self.kind = kind

    def read_line(self, findings: Findings, line: str) -> Findings:
        """What is known after this line; the same object if the line says nothing."""
        return RULES.apply(read_log_line(findings, line), line)

    def explain_exit(self, findings: Findings, ended: Exit, tail: Sequence[str]) -> Failure:
        """The recognised cause, or the exit in words and the last lines."""
        return explain_exit(RULES, read_log_line, findings, ended, tail)
