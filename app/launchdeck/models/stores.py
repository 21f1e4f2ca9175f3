"""Where other programs keep their models, also where their owners have moved them."""

from __future__ import annotations

import logging
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from launchdeck.files.apart import NoAnswerError
from launchdeck.files.looking import is_folder
from launchdeck.files.reading import parse_json, read_bytes
from launchdeck.models.telling import tell_once

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

logger = logging.getLogger(__name__)

OLLAMA_SERVICE: Final = Path("/usr/share/ollama/.ollama/models")
_LM_STUDIO_POINTER: Final = ".lmstudio-home-pointer"
_SETTINGS_LIMIT_BYTES: Final = 1 << 20
# As `posixpath.expandvars` has it.
_VARIABLE: Final = re.compile(r"\$(\w+|\{[^}]*\})", re.ASCII)


def stores(environ: Mapping[str, str]) -> Iterator[Path]:
    """The folders of llama.cpp, Hugging Face, LM Studio, Jan and Ollama for this environment, there or not.
    Ollama's is its user's or, where a service runs it, the service's.

    An empty variable counts as none. What cannot be read of other programs' settings is told in the log.
    """
    home = _home(environ)
    cache = _found_or_expanded(environ.get("XDG_CACHE_HOME") or str(home / ".cache"), environ)
    data = _found_or_expanded(environ.get("XDG_DATA_HOME") or str(home / ".local" / "share"), environ)
    yield _found_or_expanded(environ.get("LLAMA_CACHE") or str(cache / "llama.cpp"), environ)
    yield hugging_face_cache(environ)
    yield from _lm_studio(home)
    yield cache / "lm-studio" / "models"
    yield data / "Jan" / "data" / "llamacpp" / "models"
    yield _found_or_expanded(_ollama(environ) or str(home / ".ollama" / "models"), environ)
    yield OLLAMA_SERVICE


def hugging_face_cache(environ: Mapping[str, str]) -> Path:
    """Source: `huggingface_hub.constants`, which expands what is left out elsewhere."""
    cache = environ.get("XDG_CACHE_HOME") or os.path.join(_home(environ), ".cache")  # noqa: PTH118 (as it has it)
    home = _expanded(environ.get("HF_HOME") or os.path.join(cache, "huggingface"), environ)  # noqa: PTH118
    usual = environ.get("HUGGINGFACE_HUB_CACHE") or os.path.join(home, "hub")  # noqa: PTH118
    return Path(_expanded(environ.get("HF_HUB_CACHE") or usual, environ))


def _ollama(environ: Mapping[str, str]) -> str:
    """Source: `Var` of Ollama's envconfig."""
    return environ.get("OLLAMA_MODELS", "").strip().strip("\"'")


def _lm_studio(home: Path) -> Iterator[Path]:
    """Its own folder, and the one for downloads that its settings name."""
    own = _lm_studio_home(home)
    yield own / "models"
    downloads = _setting(own / "settings.json", "downloadsFolder")
    if isinstance(downloads, str) and os.path.isabs(downloads):  # noqa: PTH117 (text, maybe not a path)
        yield Path(downloads)


def _lm_studio_home(home: Path) -> Path:
    pointer = home / _LM_STUDIO_POINTER
    try:
        named = read_bytes(pointer, _SETTINGS_LIMIT_BYTES).decode().strip()
    except FileNotFoundError:
        return home / ".lmstudio"
    except (OSError, ValueError) as error:
        tell_once(logger, "LM Studio's %s was left out: %s", pointer, error)
        return home / ".lmstudio"
    return Path(named) if os.path.isabs(named) and "\0" not in named else home / ".lmstudio"  # noqa: PTH117 (as above)


def _setting(file: Path, name: str) -> Any:
    """What another program's settings say of this, None where they say nothing."""
    try:
        document = parse_json(read_bytes(file, _SETTINGS_LIMIT_BYTES), foreign=True)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        tell_once(logger, "The settings in %s were left out: %s", file, error)
        return None
    return document.get(name) if isinstance(document, dict) else None


def _found_or_expanded(text: str, environ: Mapping[str, str]) -> Path:
    """For programs that expand nothing: the folder with just this name; where there is none, whoever set it will have
    meant what a shell makes of it.
    """
    expanded = _expanded(text, environ)
    if expanded == text:
        return Path(text)
    try:
        return Path(text if is_folder(text) else expanded)
    except NoAnswerError:
        return Path(text)


def _expanded(text: str, environ: Mapping[str, str]) -> str:
    """As `os.path.expanduser` and then `os.path.expandvars` do, with this environment."""
    if text == "~" or text.startswith("~/"):
        text = str(_home(environ)).rstrip("/") + text[1:] or "/"
    else:
        text = os.path.expanduser(text)  # noqa: PTH111 (Path's raises for a user who is not known)

    def value(match: re.Match[str]) -> str:
        return environ.get(match[1].strip("{}"), match[0])

    return _VARIABLE.sub(value, text)


def _home(environ: Mapping[str, str]) -> Path:
    return Path(environ.get("HOME") or os.path.expanduser("~"))  # noqa: PTH111 (as above)
