"""`launchdeck stop`: asked of the running application, which knows what is just being started, or else straight of the
models' own supervisors.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from typing import Any

from launchdeck.api.client import ApiClient, ApplicationGoneError
from launchdeck.commands.output import print_json, print_line
from launchdeck.domain.errors import Cause, LaunchdeckError
from launchdeck.serving import direct
from launchdeck.settings.paths import Paths
from launchdeck.settings.store import SettingsStore


def run(options: argparse.Namespace) -> int:
    """Stop one model or all, and return when nothing is left of them. One that has failed is taken off the list."""
    paths = Paths.resolve()
    removed: list[str] = []
    if options.all:
        stopped = _stop_all(paths)
    else:
        stopped, removed = _stop_one(paths, options.id)
    if options.json:
        print_json({"stopped": stopped} | ({"removed": removed} if removed else {}))
    elif removed:
        print_line(f"Removed: {removed[0]}, which ran no more.")
    else:
        print_line(f"Stopped: {', '.join(stopped)}" if stopped else "Nothing runs.")
    return 0


def _stop_one(paths: Paths, name: str) -> tuple[list[str], list[str]]:
    """The name as stopped, or as removed where it ran no more. Raises LaunchdeckError."""
    client = ApiClient.find(paths)
    if client is not None:
        try:
            answer = client.post("/api/inference/unload", {"model_id": name})
        except ApplicationGoneError:
            pass  # its models live on, and their supervisors answer
        except LaunchdeckError as error:
            if error.failure.cause is not Cause.NOT_FOUND:
                raise  # the application does not list what a newer version has started
        else:
            _tell_of(answer)
            return ([name], []) if answer.get("was_live", True) else ([], [name])
    was_live = asyncio.run(direct.stop(paths, name, grace_s=_grace_s(paths), tell=_tell))
    return ([name], []) if was_live else ([], [name])


def _stop_all(paths: Paths) -> list[str]:
    """The names of those that ran. Raises LaunchdeckError for the first that could not be stopped."""
    client = ApiClient.find(paths)
    stopped = [] if client is None else asyncio.run(_stop_listed(client))
    # a supervisor may live a moment longer than its model, and is then found once more
    return list(dict.fromkeys([*stopped, *asyncio.run(direct.stop_all(paths, grace_s=_grace_s(paths), tell=_tell))]))


def _grace_s(paths: Paths) -> float:
    """What an engine gets to end by itself: what the settings say now."""
    return SettingsStore(paths.settings_file).settings.stop_grace_s


def _tell_of(answer: dict[str, Any]) -> None:
    """Tell of a model that could not be stopped as usual."""
    if answer.get("note"):
        _tell(f"{answer['model_id']}: {answer['note']}")


def _tell(note: object) -> None:
    print(f"note: {note}", file=sys.stderr)  # noqa: T201


async def _stop_listed(client: ApiClient) -> list[str]:
    """All that the application lists and that lives, at the same time."""

    def stop(entry: dict[str, Any]) -> str:
        _tell_of(client.post("/api/inference/unload", {"model_id": entry["id"]}))
        return str(entry["model_id"])

    try:
        entries = client.get("/api/inference/loading-status")["models"]
    except ApplicationGoneError:
        return []
    live = [entry for entry in entries if entry["state"] != "failed"]
    outcomes = await asyncio.gather(*(asyncio.to_thread(stop, entry) for entry in live), return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, BaseException) and not isinstance(outcome, ApplicationGoneError):
            raise outcome
    return [outcome for outcome in outcomes if isinstance(outcome, str)]
