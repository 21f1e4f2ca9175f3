"""Ollama's store, read in place: blobs that are named by their checksum, and manifests that say whose they are."""

from __future__ import annotations

import logging
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from launchdeck.files.apart import NoAnswerError, looking_at
from launchdeck.files.reading import read_json
from launchdeck.models.telling import tell_once

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

_log = logging.getLogger(__name__)

_BLOBS = "blobs"
_MANIFESTS = "manifests"
_MODEL_LAYER = "application/vnd.ollama.image.model"
_PROJECTOR_LAYER = "application/vnd.ollama.image.projector"
_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")
_BLOB = re.compile(r"sha256-[0-9a-f]{64}")
_USUAL_PLACE = ("registry.ollama.ai", "library")
_MANIFEST_DEPTH = 4
_MANIFEST_LIMIT_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class OllamaModel:
    """`name` as Ollama says it: "qwen3:8b"; `path` is the blob with the weights, a GGUF file without that ending."""

    name: str
    path: Path
    projector: Path | None = None


def is_store(names: Iterable[str]) -> bool:
    """Whether a folder with these entries is a store."""
    return {_BLOBS, _MANIFESTS}.issubset(names)


def read_store(store: Path) -> Iterator[OllamaModel]:
    """The models of this store, by name. A manifest that cannot be used is told and left out, one of a model that is
    not here (Ollama runs some on machines of its own) quietly.

    Raises:
        NoAnswerError: the store does not answer.
    """
    for manifest in _manifests(store):
        try:
            layers = _layers(read_json(manifest, _MANIFEST_LIMIT_BYTES, foreign=True))
        except NoAnswerError:
            raise
        except (OSError, ValueError) as error:
            tell_once(_log, "Ollama's manifest %s was left out: %s", manifest, error)
            continue
        path = _blob(store, layers.get(_MODEL_LAYER))
        if path is not None:
            yield OllamaModel(_name(store, manifest), path, _blob(store, layers.get(_PROJECTOR_LAYER)))


def manifest_folders(store: Path) -> Iterator[Path]:
    """The folders in which something changes when a model comes or goes."""
    yield from (store / _BLOBS, store / _MANIFESTS)
    yield from (path for path, _, is_folder in _below(store / _MANIFESTS) if is_folder)


def model_of_blob(path: Path) -> OllamaModel | None:
    """The model whose weights are this file, None for a file outside a store."""
    store = path.parent.parent
    if path.parent.name != _BLOBS or not _BLOB.fullmatch(path.name):
        return None
    return next((model for model in read_store(store) if model.path == path), None)


def _manifests(store: Path) -> Iterator[Path]:
    """What lies where Ollama looks, no deeper and no higher: HOST/OWNER/MODEL/TAG."""
    for path, depth, is_folder in _below(store / _MANIFESTS):
        if not is_folder and depth == _MANIFEST_DEPTH:
            yield path
        elif not is_folder:
            tell_once(_log, "%s was left out: none of Ollama's manifests can lie there", path)


def _below(folder: Path, depth: int = 1) -> Iterator[tuple[Path, int, bool]]:
    """All that is not hidden, by name, with how deep it lies and whether it is a folder; links are none."""
    looking_at(folder)  # the whole store is on one disk: where this does not answer, it does not
    try:
        with os.scandir(folder) as listing:
            entries = sorted((entry for entry in listing if entry.name[0] != "."), key=lambda entry: entry.name)
    except OSError as error:
        tell_once(_log, "The folder %s was left out: %s", folder, error)
        return
    for entry in entries:
        is_folder = entry.is_dir(follow_symlinks=False)
        yield folder / entry.name, depth, is_folder
        if is_folder and depth < _MANIFEST_DEPTH:
            yield from _below(folder / entry.name, depth + 1)


def _layers(document: Any) -> dict[str, str]:
    """The digest of the (first) layer of every type. Raises ValueError for what is no manifest."""
    layers = document.get("layers") or [] if isinstance(document, dict) else None
    if not isinstance(layers, list) or not all(isinstance(layer, dict) for layer in layers):
        raise ValueError("it is no manifest")
    found = {}
    for layer in reversed(layers):
        kind, digest = layer.get("mediaType"), layer.get("digest")
        if not isinstance(kind, str) or not isinstance(digest, str):
            raise ValueError("a layer in it is not described")  # noqa: TRY004 (a wrong document, not a wrong call)
        found[kind] = digest
    return found


def _blob(store: Path, digest: str | None) -> Path | None:
    match = _DIGEST.fullmatch(digest or "")
    return store / _BLOBS / f"sha256-{match[1]}" if match else None


def _name(store: Path, manifest: Path) -> str:
    """registry.ollama.ai/library/qwen3/8b is "qwen3:8b"; another registry or owner stands before it."""
    *place, model, tag = manifest.relative_to(store / _MANIFESTS).parts
    for usual in _USUAL_PLACE:
        if place and place[0] == usual:
            del place[0]
    return f"{'/'.join((*place, model))}:{tag}"
