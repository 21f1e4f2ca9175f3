"""A source of GPU facts that knows what the test tells it."""

from __future__ import annotations

import time

from launchdeck.domain.detection import Outcome, Step
from launchdeck.domain.gpu import Gpu, GpuSample, GpuType


class Detector:
    """A detector with the GPUs that the test gives it."""

    last_resort = False

    def __init__(self, name: str, gpu_type: GpuType, *gpus: Gpu, last_resort: bool = False, **sample) -> None:
        self.name = name
        self.gpu_type = gpu_type
        self.gpus = list(gpus)
        self.last_resort = last_resort
        self.sample = sample
        self.error: Exception | None = None
        self.reading_error: Exception | None = None
        self.asked = 0
        self.closed = False

    @property
    def step(self) -> Step:
        return Step(self.name, Outcome.FOUND if self.gpus else Outcome.EMPTY)

    def is_available(self) -> bool:
        return bool(self.gpus)

    def get_gpu_list(self) -> list[Gpu]:
        self.asked += 1
        if self.error:
            raise self.error
        return list(self.gpus)

    def get_gpu_info(self, gpu: Gpu) -> GpuSample:
        if self.reading_error:
            raise self.reading_error
        return GpuSample(time.time(), **self.sample)

    def close(self) -> None:
        self.closed = True
