"""The CPU and the RAM: the device that is always there."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil

from launchdeck.domain.detection import Outcome, Step
from launchdeck.domain.gpu import Gpu, GpuSample, GpuType
from launchdeck.hardware.memory import ram

CPU_UUID = "cpu"
_SHORTEST_LOAD_S = 0.1  # a load over less than this says nothing: the kernel counts in ticks of 10 ms


class CPUDetector:
    """Always answers, with exactly one device: its memory is the RAM, its load, in all and of each core, that of the
    time since the sample before.
    """

    name = "CPUDetector"
    gpu_type = GpuType.CPU
    last_resort = False

    def __init__(self, *, root: Path = Path("/"), clock: Callable[[], float] = time.monotonic) -> None:
        self.step = Step(self.name, Outcome.FOUND)
        name = _cpu_name(root / "proc/cpuinfo")
        self._root = root
        self._gpu = Gpu(0, CPU_UUID, None, name, GpuType.CPU, total_memory_bytes=None)
        self._clock = clock
        self._load_since_s = clock()
        self._before = _core_seconds()

    def is_available(self) -> bool:
        return True

    def get_gpu_list(self) -> list[Gpu]:
        """With the RAM that we may have now: the limits of a container can change at any time."""
        return [replace(self._gpu, total_memory_bytes=ram(self._root).total_bytes)]

    def get_gpu_info(self, gpu: Gpu) -> GpuSample:  # noqa: ARG002 (there is only one)
        memory = ram(self._root)
        load_percent, core_percents = self._loads()
        return GpuSample(
            sampled_at_s=time.time(),
            used_memory_bytes=memory.used_bytes,
            free_memory_bytes=memory.free_bytes,
            utilization_percent=load_percent,
            core_percents=core_percents,
        )

    def close(self) -> None:
        """Nothing is held open."""

    def _loads(self) -> tuple[int | None, tuple[int, ...]]:
        """Of all cores together, and of each."""
        now_s = self._clock()
        cores = _core_seconds()
        if now_s - self._load_since_s < _SHORTEST_LOAD_S:
            return None, ()
        before, self._before, self._load_since_s = self._before, cores, now_s
        if len(before) != len(cores) or _sum(cores).total <= _sum(before).total:  # a core was switched on or off
            return None, ()
        return _percent(_sum(before), _sum(cores)), tuple(map(_percent, before, cores))


@dataclass(frozen=True, slots=True)
class _Seconds:
    """Since the start of the system."""

    busy: float
    total: float


def _core_seconds() -> list[_Seconds]:
    """Of each core. psutil.cpu_percent() keeps one "last time" for the whole process; this detector keeps its own."""
    return [_seconds(times) for times in psutil.cpu_times(percpu=True)]


def _seconds(times: Any) -> _Seconds:
    guests_s = getattr(times, "guest", 0.0) + getattr(times, "guest_nice", 0.0)  # Linux counts these in user, too
    total_s = sum(times) - guests_s
    return _Seconds(total_s - times.idle - getattr(times, "iowait", 0.0), total_s)


def _sum(cores: list[_Seconds]) -> _Seconds:
    return _Seconds(sum(core.busy for core in cores), sum(core.total for core in cores))


def _percent(before: _Seconds, after: _Seconds) -> int:
    """A core that was asleep all the time has no ticks at all."""
    total_s = after.total - before.total
    return round(100 * min(max((after.busy - before.busy) / total_s, 0.0), 1.0)) if total_s > 0 else 0


def _cpu_name(cpuinfo: Path) -> str:
    try:
        with cpuinfo.open(encoding="utf-8", errors="replace") as lines:  # not all of it: it is long with many cores
            for line in lines:
                key, _, value = line.partition(":")
                if key.strip() in {"model name", "Model"} and value.strip():
                    return value.strip()
    except OSError:
        pass  # not Linux: the platform module knows
    return platform.processor() or platform.machine() or "CPU"
