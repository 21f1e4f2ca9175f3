"""`launchdeck logs ID`: what a model has written, asked of the application, or read where it lies."""

from __future__ import annotations

import argparse
import time
from typing import Final
from urllib.parse import quote

from launchdeck.api.client import ApiClient
from launchdeck.commands.output import flush, print_json, print_json_line, print_line
from launchdeck.domain.errors import Cause, LaunchdeckError
from launchdeck.engines.registry import adapters
from launchdeck.serving import direct
from launchdeck.settings.paths import Paths

INTERVAL_S: Final = 0.5


def run(options: argparse.Namespace) -> int:
    """Print the last lines; with --follow also all that come, until the model ends or Ctrl-C."""
    paths = Paths.resolve()
    client = ApiClient.find(paths)
    try:
        if client is not None:
            _of_application(client, options)
            return 0
    except LaunchdeckError as error:
        if error.failure.cause is not Cause.NOT_FOUND:
            raise  # the application does not list what was stopped; its log is there until it is forgotten
    if options.follow:
        _follow_file(paths, options)
    else:
        _print(direct.log(paths, options.id, adapters()).tail(options.lines), as_json=options.json, name=options.id)
    return 0


def _of_application(client: ApiClient, options: argparse.Namespace) -> None:
    path = f"/api/inference/logs/{quote(options.id, safe='')}"
    if not options.follow:
        _print(client.get(f"{path}?lines={options.lines}")["lines"], as_json=options.json, name=options.id)
        return
    for lines in client.stream(f"{path}/stream?lines={options.lines}"):
        _print_on(lines, options)


def _follow_file(paths: Paths, options: argparse.Namespace) -> None:
    """Read it again and again while the supervisor lives; nobody tells us of new lines."""
    follower = direct.LogFollower(paths, options.id)
    after, some = follower.read().lines_since(0)
    _print_on(some[-options.lines :], options)
    is_live = True
    while is_live:
        is_live = follower.is_live()  # asked first: what it wrote at its end is read then
        time.sleep(INTERVAL_S)
        buffer = follower.read() if is_live else follower.read_last()
        after, some = buffer.lines_since(after)
        _print_on(some, options)


def _print(lines: list[str], *, as_json: bool, name: str) -> None:
    if as_json:
        print_json({"name": name, "lines": lines})
    else:
        _print_lines(lines)


def _print_on(lines: list[str], options: argparse.Namespace) -> None:
    """What has come; of documents there is one a line."""
    if options.json and lines:
        print_json_line({"name": options.id, "lines": lines})
    elif lines:
        _print_lines(lines)


def _print_lines(lines: list[str]) -> None:
    for line in lines:
        print_line(line)
    flush()
