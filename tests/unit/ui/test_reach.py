from __future__ import annotations

from dataclasses import replace

import pytest

from launchdeck.ui.library.reach import Reach, reach
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


@pytest.mark.parametrize(
    ("size_gib", "gpu_gib", "expected"),
    [
        (20, 32, Reach.ONE_GPU),  # all of the RAM
        (30, 32, Reach.TOO_BIG),  # which is there once
        (34, 40, Reach.ONE_GPU),  # 8 GiB are set aside
        (38, 40, Reach.TOO_BIG),
        (20, 8, Reach.WITH_RAM),
    ],
)
def test_a_gpu_that_shares_the_ram_adds_none_to_it(size_gib: float, gpu_gib: float, expected: Reach) -> None:
    shared = machine([gpu_gib], 32)
    (reading,) = shared.gpus
    shared = replace(shared, gpus=(replace(reading, gpu=replace(reading.gpu, integrated=True)),))
    assert reach(int(size_gib * GIB), shared) is expected
