"""How grave a line of an engine's log is, by the marks that llama-server, vLLM and Python itself put into it."""

from __future__ import annotations

import re
from enum import IntEnum
from typing import Final


class LogLevel(IntEnum):
    INFO = 0
    WARNING = 1
    ERROR = 2


_ERROR: Final = re.compile(
    r"^[\d.]+ E |\b(?:ERROR|CRITICAL)\b|\berror:|\bfailed to\b|terminate called"
    r"|^Traceback |^[\w.]*(?:Error|Exception): "
)
_WARNING: Final = re.compile(r"^[\d.]+ W |\bWARN(?:ING)?\b|\bwarning:")


def level_of(line: str) -> LogLevel:
    """A line without any mark is information."""
    if _ERROR.search(line):
        return LogLevel.ERROR
    return LogLevel.WARNING if _WARNING.search(line) else LogLevel.INFO
