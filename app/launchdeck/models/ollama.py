"""Ollama's store, read in place: blobs that are named by their checksum, and manifests that say whose they are."""

from __future__ import annotations

import json
import logging
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_log = logging.getLogger(__name__)

_BLOBS = "blobs"
_MANIFESTS = "manifests"
_MODEL_LAYER = "application/vnd.ollama.image.model"
_PROJECTOR_LAYER = "application/vnd.ollama.image.projector"
_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")
_BLOB = re.compile(r"sha256-[0-9a-f]{64}")
_USUAL_PLACE = ("registry.ollama.ai", "library")
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
    """The models of this store, by name. A manifest that cannot be read is logged and left out."""
    for manifest in sorted((store / _MANIFESTS).rglob("*")):
        if manifest.is_dir() or manifest.name.startswith("."):
            continue
        layers = _layers(manifest)
        path = _blob(store, layers.get(_MODEL_LAYER))
        if path is not None:
            yield OllamaModel(_name(store, manifest), path, _blob(store, layers.get(_PROJECTOR_LAYER)))


def manifest_folders(store: Path) -> Iterator[Path]:
    """The folders in which something changes when a model comes or goes."""
    yield from (store / _BLOBS, store / _MANIFESTS)
    yield from (folder for folder in (store / _MANIFESTS).rglob("*") if folder.is_dir())


def model_of_blob(path: Path) -> OllamaModel | None:
    """The model whose weights are this file, None for a file outside a store."""
    store = path.parent.parent
    if path.parent.name != _BLOBS or not _BLOB.fullmatch(path.name):
        return None
    return next((model for model in read_store(store) if model.path == path), None)


def _layers(manifest: Path) -> dict[str, str]:
    """The digest of the (first) layer of every type."""
    try:
        with manifest.open("rb") as file:
            document: Any = json.loads(file.read(_MANIFEST_LIMIT_BYTES))
        layers = document["layers"]
        return {str(layer["mediaType"]): str(layer["digest"]) for layer in reversed(layers)}
    except (OSError, ValueError, KeyError, TypeError) as error:
        _log.warning("Ollama's manifest %s was left out: %s", manifest, error)
        return {}


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
