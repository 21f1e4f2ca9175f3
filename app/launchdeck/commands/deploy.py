"""`launchdeck deploy MODEL`: have the running application start a model, and watch it load."""

from __future__ import annotations

import argparse
import sys
from typing import Any, Final

from launchdeck.api.address import OWN_HAND_LOAD, url_file
from launchdeck.api.client import ApiClient, OwnHandClient, failure_of
from launchdeck.commands.model_name import model_path
from launchdeck.commands.output import print_json, print_line
from launchdeck.commands.plan import request_from
from launchdeck.domain.errors import Cause, LaunchdeckError
from launchdeck.domain.request import ModelLoadRequest
from launchdeck.domain.text import Message
from launchdeck.serving.records.codec import to_json
from launchdeck.settings.instance import Instance, does_not_answer
from launchdeck.settings.paths import Paths
from launchdeck.settings.store import SettingsStore

BAR_WIDTH: Final = 24
_CLEAR_LINE: Final = "\r\x1b[K"


def run(options: argparse.Namespace) -> int:
    """Print where the model serves. Ends with 1 if it cannot be started, or fails while it loads."""
    paths = Paths.resolve()
    client = ApiClient.find(paths)
    if client is None:
        holder = Instance(paths).holder()
        if holder is not None and url_file(paths).exists():
            raise does_not_answer(holder[1])
        raise LaunchdeckError.of(
            Cause.NOT_FOUND,
            Message("No Launchdeck runs that could start the model."),
            Message("Start one: 'launchdeck' opens the window, 'launchdeck serve &' does without one."),
        )
    request = request_from(options, model_path(options.model, SettingsStore(paths.settings_file).settings, paths))
    body = _body(request) | {"model_id": options.name, "force": options.force}
    started = _load(client, body, paths)
    for warning in started["warnings"]:
        print(f"note: {warning}", file=sys.stderr)  # noqa: T201
    entry = _wait(client, started["id"]) if options.wait else started
    if options.json:
        print_json(entry)
    else:
        print_line(f"{entry['model_id']} is {entry['state']} at {entry['url']}")
        print_line(f"id {entry['id']}, engine {entry['engine']}, key {entry['api_key'] or 'none'}")
    return 0


def _load(client: ApiClient, body: dict[str, Any], paths: Paths) -> Any:
    """What the application has started. What lies outside the library is asked for by the user's own hand, and nothing
    else is. Raises LaunchdeckError.
    """
    try:
        return client.post("/api/inference/load", body)
    except LaunchdeckError as error:
        own_hand = OwnHandClient.at(paths) if error.failure.cause is Cause.OUTSIDE_LIBRARY else None
        if own_hand is None:
            raise
    return own_hand.post(OWN_HAND_LOAD, body)


def _body(request: ModelLoadRequest) -> dict[str, Any]:
    """The request as the interface takes it. Which GPUs are meant, the application knows; places alone go as places,
    which an older one understands as well.
    """
    body: dict[str, Any] = {name: value for name, value in to_json(request).items() if name != "known_gpus"}
    names = request.gpu_uuids
    if names is None or not all(name.isdecimal() and name.isascii() for name in names):
        return body
    return {name: value for name, value in body.items() if name != "gpu_uuids"} | {"gpu_indices": [*map(int, names)]}


def _wait(client: ApiClient, deployment_id: str) -> dict[str, Any]:
    """The entry of the model as soon as it runs. Raises LaunchdeckError if it ends instead."""
    shows_bar = sys.stderr.isatty()
    try:
        for document in client.stream("/api/inference/loading-status/stream"):
            entry: dict[str, Any] | None = next((e for e in document["models"] if e["id"] == deployment_id), None)
            if entry is None:
                raise LaunchdeckError.of(Cause.CRASHED, Message("The model was stopped while it was loading."))
            if entry["error"] is not None:
                raise LaunchdeckError(failure_of(entry["error"]))
            if entry["state"] == "running":
                return entry
            if shows_bar:
                sys.stderr.write(_CLEAR_LINE + bar(entry))
                sys.stderr.flush()
    finally:
        if shows_bar:
            sys.stderr.write(_CLEAR_LINE)
    raise LaunchdeckError.of(
        Cause.NOT_READY,
        Message("Launchdeck ended before the model was ready."),
        Message("'launchdeck status' tells what became of it."),
    )


def bar(entry: dict[str, Any]) -> str:
    """How far loading is, on one line."""
    progress = entry["progress"]
    if progress is None:
        return f"{entry['model_id']} {entry['state']} ..."
    full = round(progress * BAR_WIDTH)
    stage = f"  {entry['stage']}" if entry["stage"] else ""
    return f"{entry['model_id']} {entry['state']} [{'#' * full}{'.' * (BAR_WIDTH - full)}] {progress:4.0%}{stage}"
