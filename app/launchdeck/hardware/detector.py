"""What every source of GPU facts answers, and how it reports on itself."""

from __future__ import annotations

import logging
from typing import Protocol

from launchdeck.domain.detection import Step
from launchdeck.domain.gpu import Gpu, GpuSample, GpuType

logger = logging.getLogger(__name__)


class GPUDetector(Protocol):
    """One source of GPU facts. All calls come from one thread; none raises where a GPU or a reading is missing.

    `step` describes the latest `get_gpu_list`. A `last_resort` is slow to ask and knows no readings: it is only
    asked for a vendor of which nothing else found a GPU. `Gpu.index` is the place in this detector's own list.
    """

    name: str
    gpu_type: GpuType
    last_resort: bool
    step: Step

    def is_available(self) -> bool:
        """Whether this source works here and has at least one device."""
        ...

    def get_gpu_list(self) -> list[Gpu]:
        """The devices there are now, also those that sleep."""
        ...

    def get_gpu_info(self, gpu: Gpu) -> GpuSample:
        """A fresh sample of a device from this detector's list."""
        ...

    def close(self) -> None:
        """Let go of the library and the devices; asking again opens it again."""
        ...


class Complaints:
    """Logs what repeats with every sample only once."""

    def __init__(self) -> None:
        self._made: set[tuple[str, ...]] = set()

    def log(self, level: int, about: tuple[str, ...], text: str, error: Exception | None = None) -> None:
        """Log `text`, with the traceback of `error`, unless the same complaint `about` this has been made before."""
        if about not in self._made:
            self._made.add(about)
            logger.log(level, text, exc_info=error)
