"""A GPU as it is held against the devices that an engine lists."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from launchdeck.domain.gpu import Gpu, GpuReading
from launchdeck.engines.devices.listing import Listed

_SAME_TOTAL: Final = 0.02
# Free memory drifts between the listing and the reading; less than this tells nothing.
TELLING_BYTES: Final = 512 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Card:
    """A GPU as it is matched. `usable_bytes` is what the driver gives to processes, in all; None where not measured."""

    gpu: Gpu
    free_bytes: int | None
    usable_bytes: int | None
    answers: bool

    @classmethod
    def of(cls, reading: GpuReading) -> Card:
        free, used = reading.sample.free_memory_bytes, reading.sample.used_memory_bytes
        usable = None if free is None or used is None else free + used
        return cls(reading.gpu, free, usable, reading.sample.state.answers)

    def has_total_of(self, device: Listed) -> bool:
        """Whether the engine means the same memory as the driver: all there is, or all but what the driver keeps."""
        if not self.may_be(device):
            return False
        totals = [total for total in (self.gpu.total_memory_bytes, self.usable_bytes) if total]
        if not totals:
            return False
        return min(totals) * (1 - _SAME_TOTAL) <= device.total_bytes <= max(totals) * (1 + _SAME_TOTAL)

    def may_be(self, device: Listed) -> bool:
        """Whether nothing speaks against it where it is the last that is left: a GPU inside a processor is no card."""
        return self.gpu.integrated or not device.is_inside_processor

    def sees_more_than(self, device: Listed) -> bool:
        """Whether the driver tells of memory that the engine does not see: it has a slice, or a limit."""
        total = self.gpu.total_memory_bytes
        if not total or self.gpu.integrated or self.has_total_of(device):
            return False
        return total - device.total_bytes > TELLING_BYTES
