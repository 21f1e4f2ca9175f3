"""A driver's library without a GPU, under the real Python bindings: a shared object that reads a text file."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path


def compiler() -> list[str]:
    """Return the command of the machine's C compiler, else of the one that a Python package brings; empty: neither.

    The latter ends a program at what the language leaves undefined unless told otherwise.
    """
    if shutil.which("cc") is not None:
        return ["cc"]
    if importlib.util.find_spec("ziglang") is not None:
        return [sys.executable, "-m", "ziglang", "cc", "-fno-sanitize=undefined"]
    return []


def compile_library(source: Path, library: Path, *options: str) -> None:
    """Compile a C file to a shared library."""
    command = [*compiler(), "-shared", "-fPIC", "-O1", "-Wall", "-Werror", *options, str(source), "-o", str(library)]
    subprocess.run([*command, "-ldl"], check=True)


def build_library(source: Path, library: Path, wanted: Iterable[str]) -> Path:
    """Compile a library. Of the functions `wanted` by its users, those not in the source return NOT_SUPPORTED."""
    there = set(re.findall(r"^[a-z][\w ]* \*?(\w+)\(", source.read_text(), re.MULTILINE))
    stubs = [f"int {name}(void) {{ return NOT_SUPPORTED; }}\n" for name in sorted(set(wanted) - there)]
    header = library.with_name("stubs.h")
    header.write_text("".join(stubs))
    compile_library(source, library, "-D_GNU_SOURCE", f"-I{header.parent}")
    return library


class FakeDriver:
    """The text file (see answers.h), and the list of calls. A change is in force with the driver's next call.

    `variable` names the environment variable for the file; with `_CALLS` added, the one for the calls.
    """

    def __init__(self, folder: Path, variable: str) -> None:
        self._file = folder / f"{variable}.txt"
        self._calls = folder / f"{variable}.calls"
        self._values: dict[str, object] = {"count": 0}
        self.environment = {variable: str(self._file), f"{variable}_CALLS": str(self._calls)}
        self._write()

    def add(self, **values: object) -> int:
        """One more GPU; its place."""
        place = int(str(self._values["count"]))
        self.set(**{f"{place}.{key}": value for key, value in values.items()}, count=place + 1)
        return place

    def set(self, **values: object) -> None:
        """Lines of the file; None takes a line away."""
        self._values.update(values)
        self._write()

    def calls(self, name: str | None = None, gpu: int | None = None) -> int:
        """How often the driver has been called: by this name, for this GPU."""
        if not self._calls.exists():
            return 0
        calls = [line.split() for line in self._calls.read_text().splitlines()]
        return sum(name in {None, call} and gpu in {None, int(place)} for call, place in calls)

    def _write(self) -> None:
        lines = [f"{key}={value}\n" for key, value in self._values.items() if value is not None]
        fresh = self._file.with_suffix(".new")
        fresh.write_bytes(b"".join(line.encode(errors="surrogateescape") for line in lines))
        fresh.replace(self._file)
