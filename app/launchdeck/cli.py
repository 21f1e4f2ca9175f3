"""The command line: what was asked, and which room answers. Only the chosen command's room is imported."""

from __future__ import annotations

import argparse
import importlib
import logging
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext

from launchdeck.commands import output
from launchdeck.commands.parser import build_parser
from launchdeck.domain.errors import Failure, LaunchdeckError

INTERRUPTED = 130  # what a shell makes of a command that Ctrl-C has ended


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status: 0 success, 1 failure, 2 wrong usage."""
    output.prepare_output()
    status = 0
    try:
        status = _run(arguments)
        output.flush()
    except BrokenPipeError:
        pass  # `launchdeck gpus | head -1`: nobody reads any more, which is no failure of ours
    except LaunchdeckError as error:
        _tell(error.failure)
        return 1
    return status


def _run(arguments: Sequence[str] | None) -> int:
    try:
        options = build_parser().parse_args(arguments)
    except SystemExit as end:  # argparse has said what there was to say: help, the version, or what is wrong
        return int(end.code or 0)
    logging.basicConfig(level=logging.DEBUG if options.verbose else logging.WARNING)
    for handler in logging.getLogger().handlers:
        handler.setFormatter(output.LogFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    try:
        with output.stray_output_on_stderr() if _as_json(options) else nullcontext():
            return _command(options)(options)
    except KeyboardInterrupt:
        watches = getattr(options, "watch", False) or getattr(options, "follow", False)
        return 0 if watches else INTERRUPTED  # there is no other end to watching
    except LaunchdeckError as error:
        _tell(error.failure)
        if _as_json(options):
            from launchdeck.api.documents import failure_document  # noqa: PLC0415 (half of what a command imports)

            output.print_json({"error": failure_document(error.failure)})
        return 1


def _as_json(options: argparse.Namespace) -> bool:
    return bool(getattr(options, "json", False))


def _tell(failure: Failure) -> None:
    """What happened, what to do, and the lines that prove it."""
    print(f"launchdeck: {failure}", *failure.evidence, sep="\n  ", file=sys.stderr)  # noqa: T201


def _command(options: argparse.Namespace) -> Callable[[argparse.Namespace], int]:
    if options.command is None:
        return importlib.import_module("launchdeck.compose").run_window  # type: ignore[no-any-return]
    return importlib.import_module(f"launchdeck.commands.{options.command}").run  # type: ignore[no-any-return]
