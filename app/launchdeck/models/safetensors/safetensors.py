"""A model in safetensors format: a folder with a config.json and one or many files of weights."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from launchdeck.domain.text import Message
from launchdeck.files.apart import NoAnswerError, looking_at
from launchdeck.files.looking import is_folder, is_there
from launchdeck.models.errors import AGAIN, silent, unusable
from launchdeck.models.safetensors.config_json import ModelConfig, damaged, read_config, read_json, read_object
from launchdeck.models.safetensors.safetensors_file import SafeTensor, read_tensors
from launchdeck.models.safetensors.tensor_shapes import completed

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

CONFIG = "config.json"
SUFFIX = ".safetensors"
_INDEX = "model.safetensors.index.json"
_WHOLE = "model.safetensors"
# Mistral publishes its weights twice, the second time in its own layout.
_OTHER_LAYOUT = "consolidated"
_FILE_LIMIT = 4096
_NAME_LIMIT = 255
# The cache of huggingface_hub: models--OWNER--NAME/snapshots/REVISION.
_CACHED_REPOSITORY = re.compile(r"models--(?:.+--)?(?P<name>[^/]+)")
_SNAPSHOTS = "snapshots"
_MODULES = "modules.json"
_SENTENCES = "sentence_bert_config.json"
_POOLING_WORDS = {
    "mean_tokens": "mean", "mean": "mean", "cls_token": "cls", "cls": "cls", "lasttoken": "last", "last": "last",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class SafetensorsHeader:
    """All that a model's files tell before their data. `files` are those with weights; `size_bytes` is their sum.

    `modules` are the types of the modules of sentence-transformers, empty for other models; `pooling` is how those
    pool: mean, cls or last. `sequence_limit` is how many tokens they take, where it is fewer than the network could.
    """

    path: Path
    files: tuple[Path, ...]
    size_bytes: int
    config: ModelConfig
    tensors: tuple[SafeTensor, ...]
    modules: tuple[str, ...] = ()
    pooling: str | None = None
    sequence_limit: int | None = None


def is_safetensors_folder(names: Iterable[str]) -> bool:
    """Whether files of these names, in one folder, are a model."""
    names = set(names)
    return CONFIG in names and any(name.endswith(SUFFIX) for name in names)


def is_safetensors_path(path: Path) -> bool:
    """Whether this names a model in safetensors format: its folder, or a file of weights in it."""
    return is_folder(path) or path.name.endswith(SUFFIX)


def read_safetensors(path: Path) -> SafetensorsHeader:
    """Read the headers of all files of the model in this folder, or in the folder of this file.

    Raises:
        LaunchdeckError: The model cannot be used: no such folder, files missing, damaged or incomplete.
    """
    try:
        return _read(path if is_folder(path) else path.parent)
    except NoAnswerError as error:
        raise silent(error) from error


def _read(folder: Path) -> SafetensorsHeader:
    config = read_config(folder / CONFIG)
    names = _weight_names(folder)
    tensors: list[SafeTensor] = []
    size_bytes = 0
    for name in names:
        found, file_bytes = read_tensors(folder / name)
        tensors += found
        size_bytes += file_bytes
    modules, pooling = _sentence_transformer(folder)
    return SafetensorsHeader(
        path=folder,
        files=tuple(folder / name for name in names),
        size_bytes=size_bytes,
        config=completed(config, tensors),
        tensors=tuple(tensors),
        modules=modules,
        pooling=pooling,
        sequence_limit=_sequence_limit(folder / _SENTENCES) if modules else None,
    )


def folder_name(path: Path) -> str:
    """What people call the model in this folder; in a cache of Hugging Face, the repository's name."""
    if path.parent.name == _SNAPSHOTS and (match := _CACHED_REPOSITORY.fullmatch(path.parent.parent.name)):
        return match["name"]
    return path.name


def weight_files(folder: Path) -> tuple[Path, ...]:
    """All files of this folder that could hold weights; none where it cannot be looked into."""
    looking_at(folder)
    try:
        names = sorted(name for name in os.listdir(folder) if name.endswith(SUFFIX))  # noqa: PTH208 (nothing else is wanted)
    except OSError:
        return ()
    return tuple(folder / name for name in names)


def _weight_names(folder: Path) -> Sequence[str]:
    """The files that the index names; without one the one file, or all there are."""
    if is_there(folder / _INDEX):
        names = _indexed(folder / _INDEX)
        missing = [name for name in names if not is_there(folder / name)]
        if missing:
            more = f" (+{len(missing) - 3})" if len(missing) > 3 else ""
            raise unusable(
                Message(
                    "Parts of the model {path} are missing: {missing}.",
                    path=str(folder),
                    missing=", ".join(missing[:3]) + more,
                ),
                Message("Put all {count} parts into one folder.", count=len(names)),
            )
        return names
    if is_there(folder / _WHOLE):
        return [_WHOLE]
    names = [file.name for file in weight_files(folder) if not file.name.startswith(_OTHER_LAYOUT)]
    if not names:
        raise unusable(Message("There are no weights in {path}.", path=str(folder)), AGAIN)
    return names


def _indexed(index: Path) -> list[str]:
    """The names of the files in `{"weight_map": {tensor: file}}`; none may lead out of the folder."""
    weights = read_object(index).get("weight_map")
    names = set(weights.values()) if isinstance(weights, dict) and all(map(_is_file_name, weights.values())) else set()
    if not 0 < len(names) <= _FILE_LIMIT:
        raise damaged(index)
    return sorted(names)


def _is_file_name(name: object) -> bool:
    """Whether a file beside the index can have this name."""
    if not isinstance(name, str) or not 0 < len(name) <= _NAME_LIMIT or "\0" in name:
        return False
    return Path(name).name == name != ".."


def _sentence_transformer(folder: Path) -> tuple[tuple[str, ...], str | None]:
    """The modules of `modules.json` and the way of pooling; without that file there are none."""
    if not is_there(folder / _MODULES):
        return (), None
    entries = read_json(folder / _MODULES)
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise damaged(folder / _MODULES)
    types = tuple(str(entry.get("type", "")).rpartition(".")[2] for entry in entries)
    if "Pooling" not in types:
        return types, None
    place = entries[types.index("Pooling")].get("path", "")
    name = Path(place).name if isinstance(place, str) else ".."
    if name and not _is_file_name(name):
        raise damaged(folder / _MODULES)
    return types, _pooling(read_object(folder / name / CONFIG))


def _pooling(config: dict[str, Any]) -> str | None:
    """As llama.cpp calls it: mean, cls, last; None for what neither engine knows by a name."""
    if isinstance(config.get("pooling_mode"), str):
        return _POOLING_WORDS.get(config["pooling_mode"])
    modes = {key.removeprefix("pooling_mode_") for key, value in config.items() if value is True}
    return next((word for mode, word in _POOLING_WORDS.items() if mode in modes), None)


def _sequence_limit(path: Path) -> int | None:
    limit = read_object(path).get("max_seq_length") if is_there(path) else None
    return limit if type(limit) is int and limit > 0 else None
