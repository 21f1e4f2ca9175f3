"""The engine that comes with Launchdeck: llama.cpp's server in a Python package, run in a process of its own."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

EMBEDDED_COMMAND = (sys.executable, "-m", "launchdeck.engines.embedded_server")
_PACKAGE = "xllamacpp"
_LIBRARY_SUFFIXES = {".so", ".pyd"}


def embedded_library() -> Path | None:
    """The file that holds the engine, None where the package is not installed. It is not imported here."""
    spec = importlib.util.find_spec(_PACKAGE)
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        for file in sorted(Path(folder).iterdir()):
            if file.suffix in _LIBRARY_SUFFIXES:
                return file
    return None
