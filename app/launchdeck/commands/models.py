"""`launchdeck models`: the models that are found, and what is wrong with those that cannot be used."""

from __future__ import annotations

import argparse
from pathlib import Path

from launchdeck.commands.output import print_json, print_line
from launchdeck.commands.table import print_table
from launchdeck.domain.errors import Cause, LaunchdeckError
from launchdeck.domain.model import ModelInfo
from launchdeck.domain.text import Message
from launchdeck.domain.units import GIB
from launchdeck.files.apart import NoAnswerError, call_apart
from launchdeck.files.looking import is_folder
from launchdeck.models.document import to_document
from launchdeck.models.errors import silent
from launchdeck.models.library import PATIENCE_S, Library, known_models
from launchdeck.settings.paths import Paths
from launchdeck.settings.store import SettingsStore


def run(options: argparse.Namespace) -> int:
    """Print the models in the folders given, or else in those of the settings and the demo model."""
    for folder in options.folders:
        if not _is_folder(folder):
            raise LaunchdeckError.of(
                Cause.NOT_FOUND,
                Message("There is no folder {folder}.", folder=folder),
                Message("Name a folder that holds models."),
            )
    if options.folders:
        models = Library().look_into(options.folders)
    else:
        paths = Paths.resolve()
        models = known_models(SettingsStore(paths.settings_file).settings, paths)
    if options.json:
        print_json({"models": [to_document(model) for model in models]})
    else:
        _print_table(models)
    return 0


def _is_folder(folder: Path) -> bool:
    """Raises LaunchdeckError where it does not answer."""
    try:
        return call_apart(lambda: is_folder(folder), PATIENCE_S)
    except NoAnswerError as error:
        raise silent(error) from error


def _print_table(models: tuple[ModelInfo, ...]) -> None:
    if not models:
        print_line("No models found. Put models into a folder and name it: launchdeck models DIR")
        return
    rows = [
        (
            model.name,
            model.architecture or "-",
            model.quantisation or "-",
            f"{model.size_bytes / GIB:.2f}",
            str(model.layer_count) if model.block_count else "-",
            f"{model.context_length:,}" if model.context_length else "-",
            str(model.problem or model.path),
        )
        for model in models
    ]
    header = ("Model", "Architecture", "Type", "GiB", "Layers", "Context", "File")
    print_table(header, rows, right=frozenset({3, 4, 5}))
