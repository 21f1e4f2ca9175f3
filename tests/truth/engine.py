"""Asks llama.cpp itself: runs the programs of a folder with test engines and reads their accounting."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from launchdeck.planning.llama.estimate import Load

# What `llama-server --version` says of the builds that answers are recorded of.
VERSIONS = {"b10605": "0.2.0-dev", "b11434": "0.6.0-dev"}

_LINE = re.compile(r"ngl=(\d+) ms=\d+ \| (.*)")
_BUFFER = re.compile(r"(\w+) model=(\d+) ctx=(\d+) comp=(\d+)")


@dataclass(frozen=True)
class Sizes:
    """Bytes of one device's buffers."""

    weights: int
    kv: int
    compute: int

    @property
    def total(self) -> int:
        return self.weights + self.kv + self.compute

    def __add__(self, other: Sizes) -> Sizes:
        return Sizes(self.weights + other.weights, self.kv + other.kv, self.compute + other.compute)


@dataclass(frozen=True)
class Memory:
    """The GPUs in their order, and the host: plain and page-locked memory together."""

    gpus: tuple[Sizes, ...]
    host: Sizes

    @property
    def devices(self) -> tuple[Sizes, ...]:
        return (*self.gpus, self.host)


def engine_folders() -> list[Path]:
    """Return the folders with engines that LAUNCHDECK_TEST_BIN names, parted as in PATH."""
    return [Path(name).absolute() for name in os.environ.get("LAUNCHDECK_TEST_BIN", "").split(os.pathsep) if name]


def build_of(folder: Path) -> str | None:
    """Return the build of a folder's llama-server, None where it is one that nothing is recorded of."""
    answer = run([str(folder / "llama-server"), "--version"])
    said = answer.stdout + answer.stderr
    return next((build for build, version in VERSIONS.items() if f"version: {version} " in said), None)


def memory_options(load: Load) -> tuple[str, ...]:
    """Return what `llama-memory-truth` is asked for a load, but for the model and the numbers of layers."""
    outputs = load.n_ubatch if load.embedding else load.n_parallel
    options = ["-c", str(load.n_ctx), "-np", str(load.n_parallel), "-o", str(outputs), "-ub", str(load.n_ubatch)]
    options += ["-ctk", load.cache_type_k, "-ctv", load.cache_type_v]
    options += ["-kvu"] if load.kv_unified else []
    options += ["-fa", "1" if load.flash_attention else "0"]
    if len(load.devices) > 1:
        options += ["-mem", ",".join(["24576"] * len(load.devices)), "-ts", ",".join(map(str, load.split))]
    return tuple(options)


def ask_memory(folder: Path, model: Path, options: Sequence[str], layers: Sequence[int]) -> dict[int, Memory]:
    """Return llama.cpp's accounting for each number of layers.

    All are missing where llama.cpp refuses the load. The program's first version may end at recurrent states: then it
    is those behind that number.
    """
    command = [str(folder / "llama-memory-truth"), "-m", str(model), *options, "-ngl", ",".join(map(str, layers))]
    answer = run(command)
    said = {int(m[1]): _memory(m[2]) for m in map(_LINE.match, answer.stdout.splitlines()) if m}
    excused = "cache_" in answer.stderr or "requires flash_attn" in answer.stderr
    assert excused or set(said) == set(layers), f"{' '.join(command)}\n{answer.stderr}"
    return said


def run(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run a program of the engines; where it ends itself it would call a debugger first, for minutes."""
    environment = {**os.environ, "GGML_NO_BACKTRACE": "1"}
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=100, env=environment)


def _memory(line: str) -> Memory:
    sizes = {name: Sizes(*map(int, numbers)) for name, *numbers in _BUFFER.findall(line)}
    nothing = Sizes(0, 0, 0)
    gpus = [sizes[f"CUDA{index}"] for index in range(len(sizes)) if f"CUDA{index}" in sizes]
    return Memory(tuple(gpus), sizes.get("CPU", nothing) + sizes.get("CUDA_Host", nothing))
