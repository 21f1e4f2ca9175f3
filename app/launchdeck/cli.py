"""The command line: what was asked, and which room answers. Only the chosen command's room is imported."""

from __future__ import annotations

import argparse
import importlib
import logging
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext

from launchdeck.commands.output import stray_output_on_stderr
from launchdeck.commands.parser import build_parser
from launchdeck.domain.errors import LaunchdeckError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status: 0 success, 1 failure; argparse itself exits with 2 for wrong usage."""
    options = build_parser().parse_args(arguments)
    logging.basicConfig(
        level=logging.DEBUG if options.verbose else logging.WARNING,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    try:
        with stray_output_on_stderr() if getattr(options, "json", False) else nullcontext():
            return _command(options)(options)
    except LaunchdeckError as error:
        print(f"launchdeck: {error}", file=sys.stderr)  # noqa: T201
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # `launchdeck gpus | head`: nobody reads any more, which is no failure of ours
        sys.stderr.close()
        return 0


def _command(options: argparse.Namespace) -> Callable[[argparse.Namespace], int]:
    if options.command is None:
        return importlib.import_module("launchdeck.compose").run_window  # type: ignore[no-any-return]
    return importlib.import_module(f"launchdeck.commands.{options.command}").run  # type: ignore[no-any-return]
