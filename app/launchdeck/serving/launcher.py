"""What it takes to start a shim: its specification, and someone who runs the launcher."""

from __future__ import annotations

import errno
import json
import sys
from pathlib import Path
from typing import Any, Final, Protocol

from launchdeck.domain.errors import Cause, LaunchdeckError
from launchdeck.domain.text import Message

LAUNCH_TIMEOUT_S: Final = 20.0
COMMAND: Final = (sys.executable, "-I", "-S", str(Path(__file__).parent / "shim" / "main.py"))
"""Isolated and without `site`: neither the user's environment nor installed packages can slow or break a shim."""


class ShimLauncher(Protocol):
    """Runs the launcher. Qt's is in process.py."""

    async def launch(self, spec: dict[str, Any]) -> Path:
        """Start a shim and give its socket. Raises LaunchdeckError; then nothing runs."""
        ...


def read_answer(exit_code: int, output: bytes, errors: bytes) -> Path:
    """What the launcher's end means. Raises LaunchdeckError."""
    try:
        answer = json.loads(output)
        if exit_code == 0:
            return Path(answer["socket"])
        reason = answer["error"]
    except (ValueError, KeyError):
        reason = errors.decode(errors="replace").strip() or f"exit status {exit_code}"
    raise launch_failed(reason)


def launch_failed(reason: object) -> LaunchdeckError:
    """`reason` may have come as text, from another process: what it says there is all that is known."""
    message = Message("The model's supervisor could not be started: {reason}", reason=str(reason))
    if any(f"[Errno {code}]" in str(reason) for code in (errno.ENOSPC, errno.EDQUOT)):
        return LaunchdeckError.of(Cause.DISK_FULL, message, Message("Free some space on that disk, then start again."))
    return LaunchdeckError.of(Cause.START_FAILED, message)
