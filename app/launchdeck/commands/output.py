"""How commands print: a JSON document for programs, lines for people."""

from __future__ import annotations

import json
import logging
import os
import sys
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path
from typing import Any, Final, TextIO

from launchdeck.domain.errors import Cause, LaunchdeckError
from launchdeck.domain.text import Message

_STDOUT: Final = 1
_STDERR: Final = 2

_ours: TextIO | None = None


def shown(text: str) -> str:
    """Without what would move the cursor or change colours: names come from drivers, files and the network."""
    return "".join("\N{REPLACEMENT CHARACTER}" if unicodedata.category(each) == "Cc" else each for each in text)


class LogFormatter(logging.Formatter):
    """Whatever a message holds, no line of it can be taken for one of its own, and no terminal obeys it."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 (logging's name)
        return "\n    ".join(map(shown, super().formatMessage(record).split("\n")))


def prepare_output() -> None:
    """Print whatever there is to print: file names may hold bytes that are no text, and a stream may be closed."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115 (it stays)
        elif isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def flush() -> None:
    """Have all of it written.

    Raises:
        BrokenPipeError: nobody reads any more; what is left has been dropped.
        LaunchdeckError: it cannot be written.
    """
    try:
        _stream().flush()
    except OSError as error:
        raise _given_up(error) from error


def write(text: str) -> None:
    """Raises BrokenPipeError or LaunchdeckError, as `flush` does."""
    try:
        _stream().write(text)
    except OSError as error:
        raise _given_up(error) from error


def print_json(document: Any) -> None:
    """One JSON document on standard output, and nothing else."""
    print_line(json.dumps(document, indent=2, ensure_ascii=False))


def print_json_line(document: Any) -> None:
    """One of many documents, each on a line of its own and there at once."""
    print_line(json.dumps(document, ensure_ascii=False))
    flush()


def print_line(text: object = "") -> None:
    write(f"{text}\n")


def clear_terminal() -> None:
    """The cursor to the top left, and all below it away, so that a table is drawn in place."""
    if sys.stdout.isatty():
        write("\x1b[H\x1b[2J")


@contextmanager
def stray_output_on_stderr() -> Iterator[None]:
    """What libraries print by themselves, also those in C, goes to standard error; standard output is for `print_json`
    and `print_line` alone.
    """
    global _ours  # noqa: PLW0603 (a process has one standard output)
    if not _writes_to_standard_output():
        yield
        return
    sys.stdout.flush()
    kept = os.dup(_STDOUT)
    os.dup2(_STDERR, _STDOUT)
    try:
        with os.fdopen(kept, "w", encoding=sys.stdout.encoding, errors=sys.stdout.errors, closefd=False) as _ours:
            yield
            flush()
    finally:
        _ours = None
        sys.stdout.flush()
        os.dup2(kept, _STDOUT)
        os.close(kept)


def _stream() -> TextIO:
    return sys.stdout if _ours is None else _ours


def _writes_to_standard_output() -> bool:
    try:
        return sys.stdout.fileno() == _STDOUT
    except (OSError, ValueError):  # somebody collects it
        return False


def _given_up(error: OSError) -> Exception:
    os.dup2(os.open(os.devnull, os.O_WRONLY), _stream().fileno())  # or Python tries it once more when it ends
    if isinstance(error, BrokenPipeError):
        return error
    return LaunchdeckError.of(
        Cause.DISK_FULL, Message("The output cannot be written: {reason}.", reason=error.strerror or str(error))
    )
