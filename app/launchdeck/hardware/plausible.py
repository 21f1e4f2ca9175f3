"""What a driver tells can be nonsense: all ones in place of a number, more in use than there is. Such a value was not
measured, whichever source it comes from.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final, TypeVar

from launchdeck.domain.gpu import Gpu, GpuProcess, GpuSample

# The largest memory of a machine is a few dozen TiB; what is far beyond is no size, but a flag.
_MOST_BYTES: Final = 1 << 50
_MOST_PERCENT: Final = 100
_MOST_FAN_PERCENT: Final = 200  # a fan may turn faster than its nominal 100 % (NVML says so of itself)
_CELSIUS: Final = (-60, 150)
_MOST_WATTS: Final = 20_000.0
_MOST_MHZ: Final = 50_000
_MOST_PID: Final = (1 << 31) - 1
_MOST_CAPABILITY: Final = 99
# A driver rounds, and reads one number after the other while memory is taken and given back.
_ROUNDING_BYTES: Final = 64 << 20
_ROUNDING_SHARE: Final = 0.01
_LEAST_ROUNDING_BYTES: Final = 8 << 20

_Number = TypeVar("_Number", int, float)


def plausible_gpu(gpu: Gpu) -> Gpu:
    """The GPU without what it cannot be."""
    total_bytes = _within(gpu.total_memory_bytes, 1, _MOST_BYTES)
    capability = gpu.compute_capability
    if capability is not None and not all(0 <= part <= _MOST_CAPABILITY for part in capability):
        capability = None
    if (total_bytes, capability) == (gpu.total_memory_bytes, gpu.compute_capability):
        return gpu
    return replace(gpu, total_memory_bytes=total_bytes, compute_capability=capability)


def plausible_sample(gpu: Gpu, sample: GpuSample) -> GpuSample:
    """The sample without what cannot have been measured on this GPU, and without processes that cannot be."""
    most_bytes = gpu.total_memory_bytes or _MOST_BYTES
    used_bytes, free_bytes = _memory(sample, most_bytes)
    return replace(
        sample,
        used_memory_bytes=used_bytes,
        free_memory_bytes=free_bytes,
        utilization_percent=_within(sample.utilization_percent, 0, _MOST_PERCENT),
        temperature_c=_within(sample.temperature_c, *_CELSIUS),
        power_watts=_within(sample.power_watts, 0.0, _MOST_WATTS),
        power_limit_watts=_within(sample.power_limit_watts, 0.0, _MOST_WATTS),
        graphics_clock_mhz=_within(sample.graphics_clock_mhz, 0, _MOST_MHZ),
        memory_clock_mhz=_within(sample.memory_clock_mhz, 0, _MOST_MHZ),
        fan_percent=_within(sample.fan_percent, 0, _MOST_FAN_PERCENT),
        processes=tuple(_process(one, most_bytes) for one in sample.processes if 0 < one.pid <= _MOST_PID),
    )


def _memory(sample: GpuSample, most_bytes: int) -> tuple[int | None, int | None]:
    """In use, and free. What is free is reckoned from what is in use, by the driver or by us: it falls with it."""
    told_bytes = sample.used_memory_bytes
    used_bytes = _nearly_within(told_bytes, most_bytes)
    if used_bytes is None and told_bytes is not None:
        return None, None
    free_bytes = _nearly_within(sample.free_memory_bytes, most_bytes)
    if used_bytes != told_bytes and free_bytes is None:
        free_bytes = 0  # reckoned from more than there is
    if used_bytes is not None and free_bytes is not None and used_bytes + free_bytes > most_bytes + _ROUNDING_BYTES:
        return None, None
    return used_bytes, free_bytes


def _process(process: GpuProcess, most_bytes: int) -> GpuProcess:
    size_bytes = _nearly_within(process.used_memory_bytes, most_bytes)
    return process if size_bytes == process.used_memory_bytes else replace(process, used_memory_bytes=size_bytes)


def _nearly_within(size_bytes: int | None, most_bytes: int) -> int | None:
    """A size that is a little more than all there is was rounded, or is of another moment than that."""
    slack_bytes = max(round(most_bytes * _ROUNDING_SHARE), _LEAST_ROUNDING_BYTES)
    known_bytes = _within(size_bytes, 0, most_bytes + slack_bytes)
    return None if known_bytes is None else min(known_bytes, most_bytes)


def _within(value: _Number | None, least: _Number, most: _Number) -> _Number | None:
    return value if value is not None and least <= value <= most else None
