"""`launchdeck status`: what runs. Asked of the running application, or else of the models' own supervisors."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import time
from collections.abc import Iterator
from typing import Any, Final

from launchdeck.api.client import ApiClient, ApplicationGoneError
from launchdeck.api.documents import deployment_document, models_document
from launchdeck.commands.output import clear_terminal, flush, print_json, print_json_line, print_line, shown
from launchdeck.commands.table import print_table
from launchdeck.domain.deployment import State
from launchdeck.domain.units import MIB
from launchdeck.engines.registry import adapters
from launchdeck.serving import direct
from launchdeck.settings.paths import Paths

INTERVAL_S: Final = 1.0
_HEADER: Final = ("ID", "Model", "State", "Engine", "URL", "GPU", "Layers", "Context", "VRAM MiB", "RAM MiB")


def run(options: argparse.Namespace) -> int:
    """Print every deployment, oldest first: once, or at every change until Ctrl-C."""
    paths = Paths.resolve()
    if options.watch:
        for document in _documents(paths):
            _show_again(document, as_json=options.json)
        return 0
    client = ApiClient.find(paths)
    document = _ask_shims(paths) if client is None else client.get("/api/inference/loading-status")
    if options.json:
        print_json(document)
    elif options.names:
        for entry in document["models"]:
            print_line(entry["model_id"])
    else:
        _print(document)
    return 0


def _documents(paths: Paths) -> Iterator[dict[str, Any]]:
    """How things stand, and again at every change, whether an application runs, starts or ends meanwhile."""
    before = None
    while True:
        client = ApiClient.find(paths)
        if client is not None:
            with contextlib.suppress(ApplicationGoneError):
                yield from client.stream("/api/inference/loading-status/stream")
            before = None
        else:
            document = _ask_shims(paths)
            if document != before:
                yield document
            before = document
        time.sleep(INTERVAL_S)


def _ask_shims(paths: Paths) -> dict[str, Any]:
    """The same document from the records and the shims; what the GPUs hold, they do not know."""
    seen = asyncio.run(direct.look(paths, adapters()))
    return models_document(
        deployment_document(one.deployment, one.api_key) for one in seen if one.deployment.state is not State.STOPPED
    )


def _show_again(document: dict[str, Any], *, as_json: bool) -> None:
    """The table is drawn in place; of documents there is one a line."""
    if as_json:
        print_json_line(document)
    else:
        clear_terminal()
        _print(document)
        flush()


def _print(document: dict[str, Any]) -> None:
    entries = document["models"]
    if not entries:
        print_line("Nothing runs.")
        return
    print_table(_HEADER, [_row(entry) for entry in entries], right=frozenset({6, 7, 8, 9}))
    for entry in entries:
        if entry.get("queued_because"):  # an application of an older version does not tell
            print_line(shown(f"{entry['model_id']}: {entry['queued_because']}"))
        if entry["error"] is not None:
            words = " ".join(filter(None, (entry["error"]["message"], entry["error"]["advice"])))
            print_line(shown(f"{entry['model_id']}: {words}"))


def _row(entry: dict[str, Any]) -> tuple[str, ...]:
    progress = entry["progress"]
    loading = f" {progress:.0%}" if entry["status"] == "loading" and progress is not None else ""
    return (
        entry["id"],
        entry["model_id"],
        entry["state"] + loading,
        entry["engine"],
        entry["url"],
        _gpus(entry),
        str(entry["n_gpu_layers"]),
        f"{entry['context_length']:,}",
        _mib(entry["measured"]["vram_bytes"]),
        _mib(entry["measured"]["rss_bytes"]),
    )


def _gpus(entry: dict[str, Any]) -> str:
    """Their places; the UUIDs where not all of them are in the list."""
    indices, uuids = entry["gpu_indices"], entry.get("gpu_uuids", ())
    return "+".join(map(str, uuids if len(uuids) > len(indices) else indices)) or "CPU"


def _mib(size_bytes: int | None) -> str:
    return "-" if size_bytes is None else f"{size_bytes // MIB:,}"
