"""Of the RAM, what an integrated GPU takes for a launch is not there for the part of it on the CPU."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fakes.samples import GIB, gpu
from launchdeck.domain.gpu import GpuType
from launchdeck.domain.plan import DeviceEstimate, Estimate
from launchdeck.engines.devices.shared_ram import with_host

FREE = 20 * GIB


def device(total_gib: float, free_gib: float | None) -> DeviceEstimate:
    free_bytes = None if free_gib is None else int(free_gib * GIB)
    return DeviceEstimate("GPU 0", int(total_gib * GIB), 0, 0, 0, free_bytes)


def left_gib(taken: DeviceEstimate, *, integrated: bool) -> float | None:
    reading = gpu(0, "NVIDIA GB10", GpuType.NVIDIA, 24, 4)
    reading = replace(reading, gpu=replace(reading.gpu, integrated=integrated))
    estimate = Estimate((taken,), device(1, None))
    host = with_host(estimate, [reading], FREE).host
    return None if host.free_bytes is None else host.free_bytes / GIB


@pytest.mark.parametrize(
    ("taken", "integrated", "left"),
    [
        (device(12, 20), False, 20),
        (device(12, 20), True, 8),
        (device(25, 20), True, 0),
        (device(12, 28), True, 16),  # 8 GiB were set aside, and are filled first
        (device(6, 28), True, 20),
        (device(12, None), True, 8),
        (device(0, 20), True, 20),
    ],
)
def test_what_is_left_for_the_cpu(taken: DeviceEstimate, integrated: bool, left: float) -> None:
    assert left_gib(taken, integrated=integrated) == left


def test_what_is_not_known_stays_so() -> None:
    estimate = Estimate((device(1, 2),), device(1, 5))
    assert with_host(estimate, [], None).host.free_bytes is None
