"""What vLLM's log tells of a start: how far it is, and what it really applied.

Its processes write side by side; each line names the one it is from: "(APIServer pid=1)", "(EngineCore pid=2)",
"(Worker_TP0 pid=3)".
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

from launchdeck.domain.deployment import Buffer
from launchdeck.domain.units import GIB
from launchdeck.engines.adapter import CONTEXT, READY, WARMUP, WEIGHTS, Findings

# The name of the only GPU of a launch; of several, each has that of its worker.
ONLY_GPU = "GPU"
CPU = "CPU"
# How a start is divided: a large model's longest part are its weights, a small one's the graphs.
_STARTING, _LOADING, _LOADED, _SIZED, _CAPTURING, _CAPTURED = 0.05, 0.1, 0.6, 0.7, 0.75, 0.95

_WORKER = re.compile(r"\(Worker_((?:PP\d+_?)?(?:TP\d+)?)[_ ]")
_SHARDS = re.compile(r"checkpoint shards: +(\d+)% Completed")
_GRAPHS = re.compile(r"Capturing .*?(\d+)%\|")
_WEIGHTS = re.compile(r"Model loading took ([\d.]+) GiB")
_CACHE = re.compile(r"Available KV cache memory: ([\d.]+) GiB")
_CPU_CACHE = re.compile(r"Explicitly set \(([\d.]+)/[\d.]+\) GiB for KV cache")
_TOKENS = re.compile(r"KV cache size: ([\d,]+) tokens")
_CONCURRENCY = re.compile(r"Maximum concurrency for ([\d,]+) tokens per request: ([\d.]+)x")


def worker_name(tensor_rank: int, pipeline_rank: int, tensor_parallel: int, pipeline_parallel: int) -> str:
    """What the log calls the GPU of this worker. Source: `WorkerProc.setup_proc_title_and_log_prefix` of vLLM."""
    ranks = []
    if pipeline_parallel > 1:
        ranks.append(f"PP{pipeline_rank}")
    if tensor_parallel > 1:
        ranks.append(f"TP{tensor_rank}")
    return "_".join(ranks) or ONLY_GPU


def read_log_line(findings: Findings, line: str) -> Findings:
    """What is known after this line; the same object if the line says nothing.

    A needle is looked for before any pattern is: nearly all lines of a running server say nothing here.
    """
    for needle, read in _READERS:
        if needle in line:
            findings = read(findings, line)
    return findings


def _reached(stage: str, progress: float) -> Callable[[Findings, str], Findings]:
    def read(findings: Findings, _line: str) -> Findings:
        return _at(findings, stage, progress)

    return read


def _at(findings: Findings, stage: str, progress: float) -> Findings:
    """Progress never goes back: several workers tell the same one after another."""
    known = findings.progress or 0.0
    if findings.stage == READY or progress < known:
        return findings
    return replace(findings, stage=stage, progress=progress)


def _read_shards(findings: Findings, line: str) -> Findings:
    match = _SHARDS.search(line)
    return _at(findings, WEIGHTS, _between(_LOADING, _LOADED, match)) if match else findings


def _read_graphs(findings: Findings, line: str) -> Findings:
    match = _GRAPHS.search(line)
    return _at(findings, WARMUP, _between(_CAPTURING, _CAPTURED, match)) if match else findings


def _between(low: float, high: float, match: re.Match[str]) -> float:
    return round(low + (high - low) * min(int(match[1]), 100) / 100, 4)


def _read_weights(findings: Findings, line: str) -> Findings:
    match = _WEIGHTS.search(line)
    return _at(_buffer(findings, line, "weights", match[1]), CONTEXT, _LOADED) if match else findings


def _read_cache(findings: Findings, line: str) -> Findings:
    match = _CACHE.search(line)
    return _at(_buffer(findings, line, "kv", match[1]), CONTEXT, _SIZED) if match else findings


def _read_cpu_cache(findings: Findings, line: str) -> Findings:
    match = _CPU_CACHE.search(line)
    if not match:
        return findings
    buffers = (*findings.applied.buffers, Buffer(CPU, "kv", round(float(match[1]) * GIB)))
    return _at(replace(findings, applied=replace(findings.applied, buffers=buffers)), CONTEXT, _SIZED)


def _read_tokens(findings: Findings, line: str) -> Findings:
    match = _TOKENS.search(line)
    if not match:
        return findings
    return replace(findings, applied=replace(findings.applied, kv_tokens=_count(match[1])))


def _read_concurrency(findings: Findings, line: str) -> Findings:
    match = _CONCURRENCY.search(line)
    if not match:
        return findings
    applied = replace(findings.applied, n_ctx=_count(match[1]), max_concurrency=float(match[2]))
    return replace(findings, applied=applied)


def _buffer(findings: Findings, line: str, kind: str, gib: str) -> Findings:
    worker = _WORKER.search(line)
    device = worker[1] if worker else ONLY_GPU
    applied = findings.applied
    kept = tuple(old for old in applied.buffers if (old.device, old.kind) != (device, kind))
    devices = applied.devices if device in applied.devices else (*applied.devices, device)
    buffers = (*kept, Buffer(device, kind, round(float(gib) * GIB)))
    return replace(findings, applied=replace(applied, devices=devices, buffers=buffers))


def _count(text: str) -> int:
    return int(text.replace(",", ""))


_READERS: tuple[tuple[str, Callable[[Findings, str], Findings]], ...] = (
    ("non-default args", _reached(WEIGHTS, _STARTING)),
    ("Starting to load model", _reached(WEIGHTS, _LOADING)),
    ("checkpoint shards", _read_shards),
    ("Model loading took", _read_weights),
    ("Available KV cache memory", _read_cache),
    ("Explicitly set", _read_cpu_cache),
    ("KV cache size", _read_tokens),
    ("Maximum concurrency", _read_concurrency),
    ("Capturing ", _read_graphs),
    ("Graph capturing finished", _reached(WARMUP, _CAPTURED)),
    ("init engine (", _reached(WARMUP, _CAPTURED)),
    ("Application startup complete", _reached(READY, 1.0)),
)
