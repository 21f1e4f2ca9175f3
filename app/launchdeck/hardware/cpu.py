"""The CPU and the RAM: the device that is always there."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from launchdeck.domain.detection import Outcome, Step
from launchdeck.domain.gpu import Gpu, GpuSample, GpuType
from launchdeck.hardware.memory import ram

CPU_UUID = "cpu"
_SHORTEST_LOAD_S = 0.1  # a load over less than this says nothing: the kernel counts in ticks of 10 ms


class CPUDetector:
    """Always answers, with exactly one device: its memory is the RAM, its load the time since the sample before."""

    name = "CPUDetector"
    gpu_type = GpuType.CPU
    last_resort = False

    def __init__(self, *, root: Path = Path("/"), clock: Callable[[], float] = time.monotonic) -> None:
        self.step = Step(self.name, Outcome.FOUND)
        name = _cpu_name(root / "proc/cpuinfo")
        self._gpu = Gpu(0, CPU_UUID, None, name, GpuType.CPU, ram().total_bytes)
        self._clock = clock
        self._load_since_s = clock()
        self._busy_s, self._total_s = _cpu_seconds()

    def is_available(self) -> bool:
        return True

    def get_gpu_list(self) -> list[Gpu]:
        return [self._gpu]

    def get_gpu_info(self, gpu: Gpu) -> GpuSample:  # noqa: ARG002 (there is only one)
        memory = ram()
        return GpuSample(
            sampled_at_s=time.time(),
            used_memory_bytes=memory.used_bytes,
            free_memory_bytes=memory.free_bytes,
            utilization_percent=self._load_percent(),
        )

    def close(self) -> None:
        """Nothing is held open."""

    def _load_percent(self) -> int | None:
        now_s = self._clock()
        busy_s, total_s = _cpu_seconds()
        if now_s - self._load_since_s < _SHORTEST_LOAD_S or total_s <= self._total_s:
            return None
        load = (busy_s - self._busy_s) / (total_s - self._total_s)
        self._load_since_s, self._busy_s, self._total_s = now_s, busy_s, total_s
        return round(100 * min(max(load, 0.0), 1.0))


def _cpu_seconds() -> tuple[float, float]:
    """Busy and total seconds of all cores since the start of the system.

    psutil.cpu_percent() keeps one "last time" per thread for the whole process; this detector keeps its own.
    """
    times = psutil.cpu_times()
    guests_s = getattr(times, "guest", 0.0) + getattr(times, "guest_nice", 0.0)  # Linux counts these in user, too
    total_s = sum(times) - guests_s
    return total_s - times.idle - getattr(times, "iowait", 0.0), total_s


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
