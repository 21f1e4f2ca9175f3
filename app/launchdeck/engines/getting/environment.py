"""vLLM in a virtual environment of its own, installed by pip from where pip is configured to look, or as told."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import signal
import sys
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from launchdeck.domain.errors import Cause, LaunchdeckError
from launchdeck.domain.text import Message
from launchdeck.engines.devices.masking import child_environment
from launchdeck.engines.vllm.find import MIN_VERSION, PROGRAM

logger = logging.getLogger(__name__)

# From this version on pip goes on with a file that broke off, and tells how far it is in lines.
_PIP = "pip>=25.1"
_VLLM = f"{PROGRAM}>={'.'.join(map(str, MIN_VERSION))}"
_OPTIONS = ("--no-input", "--disable-pip-version-check", "--progress-bar", "raw")
_PROGRESS = re.compile(r"Progress (\d{1,18}) of (\d{1,18})", re.ASCII)
_TOLD_LINES = 12
_GRACE_S = 5.0
_LINE_LIMIT_BYTES = 1 << 20

# Told of every line: what pip says, and how much of how many bytes of the file that it is fetching is there.
Tell = Callable[[str, int, int], None]


def python_of(folder: Path) -> Path:
    """The interpreter of the virtual environment in this folder."""
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


async def install_vllm(folder: Path, index_url: str, tell: Tell) -> None:
    """Make a virtual environment there and install vLLM in it. Cancelled, it ends pip; pip keeps what it has fetched.

    Raises:
        LaunchdeckError: one of the steps failed; with pip's last lines.
    """
    pip = (str(python_of(folder)), "-m", "pip", "install", *_OPTIONS)
    index = ("--index-url", index_url) if index_url else ()
    await _run((sys.executable, "-m", "venv", "--clear", str(folder)), tell)
    await _run((*pip[:-2], "--upgrade", *index, _PIP), tell)
    await _run((*pip, *index, _VLLM), tell)


async def _run(command: Sequence[str], tell: Tell) -> None:
    """In a process group of its own: pip starts processes that build packages."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=child_environment(os.environ, (("PYTHONUNBUFFERED", "1"),), ("PYTHONPATH", "PYTHONHOME", "PIP_TARGET")),
        start_new_session=True,
        limit=_LINE_LIMIT_BYTES,
    )
    output = process.stdout
    last: deque[str] = deque(maxlen=_TOLD_LINES)
    try:
        while output and (line := await _line(output)):
            text = line.strip()
            match = _PROGRESS.fullmatch(text)
            if match:
                tell("", int(match[1]), int(match[2]))
            elif text:
                last.append(text)
                tell(text, 0, 0)
        status = await process.wait()
    except BaseException:
        await _end(process)
        raise
    if status != 0:
        logger.info("%s ended with status %s: %s", command[:4], status, " | ".join(last))
        advice = Message("Check the network and the index of packages in the settings.")
        if any("SOCKS" in line for line in last):
            advice = Message(
                "pip cannot use a SOCKS proxy: name an HTTP proxy in HTTPS_PROXY, then start Launchdeck again."
            )
        raise LaunchdeckError.of(
            Cause.START_FAILED, Message("vLLM could not be installed: {reason}", reason=_reason(last)), advice
        )


async def _line(output: asyncio.StreamReader) -> str:
    """The next line; of one that is too long nothing but its end. "" at the end."""
    while True:
        try:
            return (await output.readline()).decode(errors="replace")
        except ValueError:
            logger.warning("pip said more than %s bytes in a line", _LINE_LIMIT_BYTES)


async def _end(process: asyncio.subprocess.Process) -> None:
    for is_last in (False, True):
        with suppress(ProcessLookupError):
            if os.name == "nt":
                process.kill()
            else:
                os.killpg(process.pid, signal.SIGKILL if is_last else signal.SIGTERM)
        with suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), _GRACE_S)
            return


def _reason(lines: Sequence[str]) -> str:
    """The errors that pip names; where it names none, its last line."""
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    return errors[-1] if errors else lines[-1] if lines else "?"
