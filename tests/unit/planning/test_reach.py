from __future__ import annotations

from dataclasses import replace

import pytest

from launchdeck.planning.reach import Reach, reach
from qt.form_driver import ONE_GPU

GIB = 1024**3


def machine(gpus_gib: list[float], ram_gib: float):
    (gpu,) = ONE_GPU.gpus
    return replace(
        ONE_GPU,
        gpus=tuple(replace(gpu, gpu=replace(gpu.gpu, total_memory_bytes=int(size * GIB))) for size in gpus_gib),
        cpu=replace(ONE_GPU.cpu, gpu=replace(ONE_GPU.cpu.gpu, total_memory_bytes=int(ram_gib * GIB))),
    )


@pytest.mark.parametrize(
    ("size_gib", "gpus_gib", "expected"),
    [
        (20, [24, 12], Reach.ONE_GPU),
        (23, [24], Reach.WITH_RAM),
        (30, [24, 12], Reach.ALL_GPUS),
        (40, [24, 12], Reach.WITH_RAM),
        (100, [24, 12], Reach.TOO_BIG),
        (10, [], Reach.WITH_RAM),
        (31, [], Reach.TOO_BIG),
    ],
)
def test_how_far_a_model_reaches(size_gib: float, gpus_gib: list[float], expected: Reach) -> None:
    assert reach(int(size_gib * GIB), machine(gpus_gib, 32)) is expected
