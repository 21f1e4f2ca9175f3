"""Asks llama.cpp itself: runs `llama-memory-truth` and reads its accounting."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from launchdeck.planning.llama.estimate import Load

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
class Truth:
    """The GPUs in their order, and the host: plain and page-locked memory together."""

    gpus: tuple[Sizes, ...]
    host: Sizes


def ask(engine_bin: Path, model: Path, load: Load, layers: Sequence[int]) -> dict[int, Truth]:
    """llama.cpp's accounting for each number of layers; `load.n_gpu_layers` is not looked at.

    The program cannot place recurrent states on its pretended GPUs and ends there: such numbers are missing. So are all
    where llama.cpp itself refuses the load.
    """
    outputs = load.n_ubatch if load.embedding else load.n_parallel
    command = [str(engine_bin / "llama-memory-truth"), "-m", str(model)]
    command += ["-c", str(load.n_ctx), "-np", str(load.n_parallel), "-o", str(outputs), "-ub", str(load.n_ubatch)]
    command += ["-ctk", load.cache_type_k, "-ctv", load.cache_type_v]
    command += ["-kvu"] if load.kv_unified else []
    command += ["-fa", "1" if load.flash_attention else "0"]
    if len(load.devices) > 1:
        command += ["-mem", ",".join(["24576"] * len(load.devices)), "-ts", ",".join(map(str, load.split))]
    command += ["-ngl", ",".join(map(str, layers))]
    # Where it ends itself it would call a debugger first, for minutes.
    environment = {**os.environ, "GGML_NO_BACKTRACE": "1"}
    answer = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100, env=environment)
    truths = {int(m[1]): _truth(m[2]) for m in map(_LINE.match, answer.stdout.splitlines()) if m}
    excused = "cache_" in answer.stderr or "requires flash_attn" in answer.stderr
    assert excused or set(truths) == set(layers), f"{' '.join(command)}\n{answer.stderr}"
    return truths


def _truth(line: str) -> Truth:
    sizes = {name: Sizes(*map(int, numbers)) for name, *numbers in _BUFFER.findall(line)}
    nothing = Sizes(0, 0, 0)
    gpus = [sizes[f"CUDA{index}"] for index in range(len(sizes)) if f"CUDA{index}" in sizes]
    return Truth(tuple(gpus), sizes.get("CPU", nothing) + sizes.get("CUDA_Host", nothing))
