"""The engine that comes with Launchdeck: llama.cpp's server in a Python package, run in a process of its own."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

# Not in this folder: commands that older versions have recorded name it there, and a failed model is started by these.
EMBEDDED_COMMAND = (sys.executable, "-m", "launchdeck.engines.embedded_server")
EMBEDDED_PROGRAM = Path(__file__).parents[1] / "embedded_server.py"
PACKAGE = "xllamacpp"
_LIBRARY_SUFFIXES = {".so", ".pyd"}


def embedded_library() -> Path | None:
    """The file that holds the engine, None where the package is not installed. It is not imported here."""
    spec = importlib.util.find_spec(PACKAGE)
    folders = map(Path, spec.submodule_search_locations or ()) if spec else ()
    return next((library for library in map(_library, folders) if library), None)


def unpacked_library(folder: Path) -> Path | None:
    """The same of a wheel that was unpacked into this folder."""
    return _library(folder / PACKAGE)


def unpacked_command(folder: Path) -> tuple[str, ...]:
    """The engine out of that folder, in place of the one that came along."""
    return (*EMBEDDED_COMMAND, "--package-folder", str(folder))


def _library(package: Path) -> Path | None:
    files = sorted(package.iterdir()) if package.is_dir() else ()
    return next((file for file in files if file.suffix in _LIBRARY_SUFFIXES), None)
